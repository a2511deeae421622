"""A served flow: prompt flow's contract, byte for byte where clients look, and the flow as an OpenAI chat model."""

from __future__ import annotations

import http.client
import json
import queue
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

import flows
from flows.connections import Connection
from flows.masking import Mask
from flows.serve_http import Call
from flows.serve_log import RequestLog, Served, served
from flows.serve_workers import Ready, Replaced, Serving, is_loopback, serve
from workspace.errors import Invalid, Unavailable

TOOL = "import os, time\nfrom promptflow.core import tool\n\n\n@tool\n"
PLAIN = """\
inputs:
  n: {type: int}
  word: {type: string, default: hi}
outputs:
  twice: {type: int, reference: "${work.output}"}
  word: {type: string, reference: "${inputs.word}"}
  hidden: {type: int, reference: "${work.output}", evaluation_only: true}
nodes:
- name: work
  type: python
  source: {type: code, path: work.py}
  inputs: {n: "${inputs.n}"}
- name: after
  type: python
  source: {type: code, path: after.py}
  inputs: {n: "${work.output}"}
environment_variables: {FROM_FILE: "from the file", FROM_BOTH: "from the file"}
"""
WORK = """\
def work(n: int):
    if n == 5:
        raise ValueError("five is not for us, nor is sk-canary-12345")
    if n == 6:
        return {1, 2}
    if n == 7:
        os._exit(7)
    if n in (8, 80):
        time.sleep(1)
    return 2 * n
"""
AFTER = """\
def after(n: int):
    with open("seen.txt", "a") as seen:
        seen.write(f"{n} ")
"""
CHAT = """\
type: chat
inputs:
  question: {type: string, is_chat_input: true}
  chat_history: {type: list, is_chat_history: true, default: []}
  words: {type: int, default: 3}
outputs:
  answer: {type: string, reference: "${say.output}", is_chat_output: true}
  turns: {type: int, reference: "${count.output}"}
nodes:
- name: say
  type: python
  source: {type: code, path: say.py}
  inputs: {question: "${inputs.question}", history: "${inputs.chat_history}", words: "${inputs.words}"}
- name: count
  type: python
  source: {type: code, path: count.py}
  inputs: {history: "${inputs.chat_history}"}
"""
SAY = """\
def say(question: str, history: list, words: int):
    try:
        yield f"{question} after {[(t['inputs'], t['outputs']) for t in history]}: "
        for number in range(words):
            if number == 40:
                raise ValueError("too many words")
            if words > 50:
                time.sleep(0.05)
            yield f"{number} "
    finally:
        with open("closed.txt", "a") as closed:
            closed.write(question + "\\n")
"""
TEXT = """\
inputs: {text: {type: string}}
outputs:
  a: {type: string, reference: "${one.output}"}
  b: {type: string, reference: "${two.output}"}
nodes:
- {name: one, type: python, source: {type: code, path: say.py}, inputs: {text: "${inputs.text}"}}
- {name: two, type: python, source: {type: code, path: say.py}, inputs: {text: "${inputs.text}"}}
"""


@dataclass
class Server:
    """A flow that is served for a test."""

    url: str
    folder: Path
    home: Path
    pids: tuple[int, ...]
    stop: threading.Event
    ended: threading.Event
    events: queue.SimpleQueue[Replaced] = field(default_factory=queue.SimpleQueue)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def score(self, content: Any, **headers: str) -> httpx.Response:
        """POST to /score: JSON of a mapping, else the content as it is."""
        body = json.dumps(content) if isinstance(content, dict) else content
        return httpx.post(f"{self.url}/score", content=body, headers=headers, timeout=20)

    def kept(self, count: int = 1) -> list[Served]:
        """What was written of requests, once there are that many."""
        deadline = time.monotonic() + 5
        while len(found := list(served(self.home))) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return found


@contextmanager
def serving(folder: Path, home: Path, connections: dict[str, Connection] | None = None, **how: Any) -> Iterator[Server]:
    """Serve a flow on a free port for the block."""
    stop, ended = threading.Event(), threading.Event()
    events = serve(flows.load(folder), connections or {}, Serving(port=0, home=home, **how), stop)
    ready = next(events)
    assert isinstance(ready, Ready)
    server = Server(ready.url, folder, home, ready.pids, stop, ended)

    def follow() -> None:
        for event in events:
            assert isinstance(event, Replaced)
            server.events.put(event)
        ended.set()

    threading.Thread(target=follow, daemon=True).start()
    try:
        yield server
    finally:
        stop.set()
        assert ended.wait(20)


def write(folder: Path, text: str, **tools: str) -> Path:
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(text)
    for name, code in tools.items():
        (folder / f"{name}.py").write_text(TOOL + code)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Doubles a number; fails, dies or takes its time where it is told to."""
    top = tmp_path_factory.mktemp("plain")
    folder = write(top / "plain", PLAIN, work=WORK, after=AFTER)
    (folder / "samples.json").write_text('[{"n": 21}]')
    keys = {"shop": Connection(name="shop", type="custom", secrets={"key": "sk-canary-12345"})}
    with serving(folder, top / "home", keys) as server:
        yield server


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Repeats the question and the history, then counts, word by word."""
    top = tmp_path_factory.mktemp("chat")
    count = "def count(history: list) -> int:\n    return len(history)\n"
    with serving(write(top / "talk", CHAT, say=SAY, count=count), top / "home") as server:
        yield server


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One input, two outputs that come piece by piece."""
    top = tmp_path_factory.mktemp("text")
    say = "def say(text: str):\n    yield from text.split()\n"
    with serving(write(top / "text", TEXT, say=say), top / "home") as server:
        yield server


def error_of(response: httpx.Response) -> tuple[int, str, str]:
    error = response.json()["error"]
    return response.status_code, error["code"], error["message"]


# /score


def test_values_are_converted_and_outputs_come_in_their_order(plain: Server) -> None:
    response = plain.score({"n": "4", "unknown": 1})
    assert (response.status_code, response.text) == (200, '{"twice":8,"word":"hi"}')
    assert response.headers["content-type"] == "application/json"


def test_every_answer_bears_the_version_of_the_flow(plain: Server) -> None:
    assert plain.score({"n": 1}).headers["x-studiolo-flow"] == flows.load(plain.folder).digest


def test_a_flow_with_one_input_takes_the_raw_text(text: Server) -> None:
    assert text.score("in a word").json() == {"a": "inaword", "b": "inaword"}
    assert text.score('"quoted"').json()["a"] == '"quoted"'


def test_a_flow_with_more_inputs_asks_for_json(plain: Server) -> None:
    status, code, message = error_of(plain.score("n is four"))
    assert (status, code) == (400, "UserError")
    assert "please use json" in message
    assert error_of(plain.score("[1]"))[0] == 400


def test_no_body_is_no_inputs(plain: Server) -> None:
    assert error_of(plain.score("null"))[2].startswith("Required input fields ['n'] are missing")


def test_a_missing_input_is_named(plain: Server) -> None:
    expected = "Required input fields ['n'] are missing in request data {'word': 'x'}"
    assert error_of(plain.score({"word": "x"})) == (400, "UserError", expected)


@pytest.mark.parametrize("wrong", ["four", None, [1]])
def test_a_value_of_another_type_is_refused(plain: Server, wrong: Any) -> None:
    status, code, message = error_of(plain.score({"n": wrong}))
    assert (status, code) == (400, "UserError")
    assert "'n'" in message


def test_a_node_that_fails_is_told_with_its_place(plain: Server) -> None:
    status, code, message = error_of(plain.score({"n": 5}))
    assert (status, code) == (400, "UserError")
    assert message.startswith("node 'work': ValueError: five")
    assert "(work.py:" in message


def test_an_output_that_is_no_json_fails_the_request(plain: Server) -> None:
    assert error_of(plain.score({"n": 6}))[:2] == (400, "UserError")


def test_no_secret_is_told_or_kept(plain: Server) -> None:
    assert "sk-canary" not in plain.score({"n": 5}).text
    plain.kept()
    time.sleep(0.4)
    written = [path.read_bytes() for path in plain.home.rglob("*") if path.is_file()]
    assert any(b"five is not for us" in content for content in written)
    assert not any(b"sk-canary" in content for content in written)


@pytest.mark.parametrize("accept", ["application/json", "*/*", "text/html, */*;q=0.8", "application/*"])
def test_json_is_given_to_who_takes_it(plain: Server, accept: str) -> None:
    assert plain.score({"n": 1}, accept=accept).status_code == 200


@pytest.mark.parametrize("accept", ["text/event-stream", "text/html"])
def test_what_a_flow_cannot_give_is_not_acceptable(plain: Server, accept: str) -> None:
    expected = f"Media type {accept} in Accept header is not acceptable. Supported media type(s) - application/json"
    assert error_of(plain.score({"n": 1}, accept=accept)) == (406, "UserError", expected)


def test_the_environment_says_which_outputs_are_answered(plain: Server, tmp_path: Path) -> None:
    included = {"PROMPTFLOW_RESPONSE_INCLUDED_FIELDS": '["hidden"]'}
    with serving(plain.folder, tmp_path, environment=included) as server:
        assert server.score({"n": 2}).json() == {"hidden": 4}


def test_where_a_flow_is_deployed_decides_over_its_file(
    make_flow: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROM_BOTH", "from here")
    look = (
        "def work(n: int):\n    import os\n    return [os.environ.get(f'FROM_{x}') for x in ('FILE', 'BOTH', 'CALL')]"
    )
    folder = make_flow(PLAIN, work=look, after="def after(n):\n    pass")
    with serving(folder, tmp_path / "home", environment={"FROM_CALL": "given"}) as server:
        assert server.score({"n": 1}).json()["twice"] == ["from the file", "from here", "given"]


# Streams


def test_events_are_the_other_outputs_and_then_each_piece(chat: Server) -> None:
    response = chat.score({"question": "Hm?", "words": 2}, accept="text/event-stream")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text == (
        'data: {"turns":0}\n\ndata: {"answer":"Hm? after []: "}\n\ndata: {"answer":"0 "}\n\ndata: {"answer":"1 "}\n\n'
    )


def test_the_pieces_are_joined_for_who_wants_json(chat: Server) -> None:
    assert chat.score({"question": "Hm?", "words": 2}).json() == {"answer": "Hm? after []: 0 1 ", "turns": 0}


def test_several_outputs_in_pieces_cannot_be_events(text: Server) -> None:
    expected = (400, "UserError", "Multiple stream output fields not supported.")
    assert error_of(text.score({"text": "a b"}, accept="text/event-stream")) == expected
    assert text.score({"text": "a b"}, accept="application/json").json() == {"a": "ab", "b": "ab"}


def test_a_failure_in_the_middle_of_a_stream_is_an_event(chat: Server) -> None:
    events = chat.score({"question": "Hm?", "words": 41}, accept="text/event-stream").text.split("\n\n")
    assert events[-3:-1] == [
        'data: {"answer":"39 "}',
        'event: error\ndata: {"error":{"code":"UserError","message":"ValueError: too many words"}}',
    ]


def test_a_client_that_leaves_ends_the_generator(chat: Server) -> None:
    asked = {"question": "I leave", "words": 1000}
    with httpx.stream("POST", f"{chat.url}/score", json=asked, headers={"accept": "text/event-stream"}) as response:
        next(response.iter_text())
    closed = chat.folder / "closed.txt"
    deadline = time.monotonic() + 5
    while (not closed.exists() or "I leave" not in closed.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "I leave" in closed.read_text()
    found = [each for each in chat.kept(2) if each.line and each.line.inputs["question"] == "I leave"]
    assert [(each.status, each.line and each.line.error) for each in found] == [(499, "the client left")]


def test_a_line_whose_client_has_left_goes_no_further(plain: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", plain.port)
    connection.request("POST", "/score", b'{"n": 80}')
    connection.close()
    time.sleep(1.8)
    seen = plain.folder / "seen.txt"
    assert "160" not in (seen.read_text().split() if seen.exists() else [])


# Around it


def test_health_and_version(plain: Server) -> None:
    health = httpx.get(f"{plain.url}/health").json()
    assert (health["status"], health["flow"]) == ("Healthy", "plain")
    assert httpx.get(f"{plain.url}/version").json()["version"] == health["version"]


def test_swagger_describes_inputs_and_outputs_with_the_sample(chat: Server, plain: Server) -> None:
    swagger = httpx.get(f"{plain.url}/swagger.json").json()
    assert swagger["openapi"].startswith("3.0")
    operation = swagger["paths"]["/score"]["post"]
    asked = operation["requestBody"]["content"]["application/json"]
    assert asked["example"] == {"n": 21}
    assert asked["schema"]["properties"]["word"] == {"type": "string", "default": "hi"}
    assert asked["schema"]["required"] == ["n"]
    answered = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(answered["properties"]) == {"twice", "word"}
    assert swagger["components"]["securitySchemes"]["bearerAuth"]["scheme"] == "bearer"
    info = httpx.get(f"{chat.url}/swagger.json").json()["info"]
    assert (info["x-chat-input"], info["x-chat-history"], info["x-chat-output"]) == (
        "question", "chat_history", "answer"
    )  # fmt: skip


def test_what_is_not_there_is_said_in_words(plain: Server) -> None:
    for response in (httpx.get(f"{plain.url}/nothing"), httpx.get(f"{plain.url}/score")):
        assert response.status_code == 404
        assert response.headers["content-type"].startswith("text/plain")
        assert response.text.startswith("The requested api '")


def test_the_page_runs_only_its_own_script(plain: Server) -> None:
    page = httpx.get(plain.url)
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'sha256-" in page.headers["content-security-policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text


@pytest.mark.parametrize("name", ["x-request-id", "x-ms-client-request-id"])
def test_the_clients_id_is_the_runs_id(plain: Server, name: str) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    response = plain.score({"n": 3}, **{name: f"mine-{name}", "traceparent": parent, "baggage": "user=7"})
    assert response.headers["x-request-id"] == f"mine-{name}"
    time.sleep(0.4)
    kept = next(each for each in plain.kept() if each.id == f"mine-{name}")
    assert (kept.flow, kept.status, kept.traceparent, kept.baggage) == ("plain", 200, parent, "user=7")
    assert kept.line is not None
    assert [(node.name, node.output) for node in kept.line.nodes if node.name == "work"] == [("work", 6)]


def test_feedback_is_kept_flat_or_whole(chat: Server) -> None:
    for query in ("", "?flatten=true"):
        headers = {"x-request-id": f"feedback{query}"}
        response = httpx.post(f"{chat.url}/feedback{query}", json={"good": True, "why": {"a": 1}}, headers=headers)
        assert response.json() == {"status": "Feedback received."}
    time.sleep(0.4)
    kept = {each.id: each.feedback for each in chat.kept(2)}
    assert kept["feedback"] == {"feedback": '{"good":true,"why":{"a":1}}'}
    assert kept["feedback?flatten=true"] == {"good": True, "why": '{"a": 1}'}


def test_a_body_may_not_be_too_large(plain: Server) -> None:
    assert error_of(plain.score({"n": 1, "word": "x" * 10_000_001}))[:2] == (413, "UserError")


def test_only_this_machine_and_its_own_page_may_ask(plain: Server) -> None:
    assert plain.score({"n": 1}, host="evil.test").status_code == 421
    assert plain.score({"n": 1}, origin="http://evil.test").status_code == 403
    assert plain.score({"n": 1}, origin=plain.url).status_code == 200


def test_with_a_token_only_its_bearer_is_answered(plain: Server, tmp_path: Path) -> None:
    with serving(plain.folder, tmp_path, token="t" * 32) as server:
        assert server.score({"n": 1}).status_code == 401
        assert server.score({"n": 1}, authorization="Bearer wrong").status_code == 401
        assert server.score({"n": 1}, authorization=f"Bearer {'t' * 32}").json()["twice"] == 2
        assert httpx.get(f"{server.url}/v1/models").json()["error"]["type"] == "authentication_error"
        assert [httpx.get(f"{server.url}{path}").status_code for path in ("/", "/health")] == [200, 200]


# The flow as a chat model


def client_of(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


MESSAGES: Any = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "Two."},
    {"role": "user", "content": [{"type": "text", "text": "Three?"}]},
]
SAID = "Three? after [({'question': 'One?'}, {'answer': 'Two.'})]: 0 1 2 "


def test_the_flow_is_the_one_model(chat: Server) -> None:
    assert [model.id for model in client_of(chat).models.list()] == ["talk"]


def test_the_last_message_is_the_question_and_the_rest_is_history(chat: Server) -> None:
    answer = client_of(chat).chat.completions.create(model="talk", messages=MESSAGES)
    assert answer.choices[0].message.content == SAID
    assert answer.choices[0].finish_reason == "stop"


def test_an_answer_streams_to_the_openai_client(chat: Server) -> None:
    stream = client_of(chat).chat.completions.create(
        model="talk", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert pieces == ["", SAID.removesuffix("0 1 2 "), "0 ", "1 ", "2 ", None]
    assert chunks[-1].usage is not None
    assert chunks[-2].choices[0].finish_reason == "stop"


def test_other_inputs_come_beside_the_conversation(chat: Server) -> None:
    answer = client_of(chat).chat.completions.create(
        model="talk", messages=MESSAGES, extra_body={"inputs": {"words": 1}}
    )
    assert (answer.choices[0].message.content or "").endswith(": 0 ")


def test_another_model_is_not_found(chat: Server) -> None:
    with pytest.raises(openai.NotFoundError, match="no model 'gpt'"):
        client_of(chat).chat.completions.create(model="gpt", messages=MESSAGES)


def test_a_flow_that_is_no_chat_says_so(plain: Server) -> None:
    with pytest.raises(openai.BadRequestError, match="no chat flow"):
        client_of(plain).chat.completions.create(model="plain", messages=MESSAGES)


# The processes


def test_what_is_under_way_is_answered_before_the_end(plain: Server, tmp_path: Path) -> None:
    with serving(plain.folder, tmp_path) as server:
        answers: queue.SimpleQueue[httpx.Response] = queue.SimpleQueue()
        threading.Thread(target=lambda: answers.put(server.score({"n": 8}))).start()
        time.sleep(0.4)
        server.stop.set()
        assert answers.get(timeout=5).json()["twice"] == 16
        assert server.ended.wait(5)
        with pytest.raises(httpx.ConnectError):
            server.score({"n": 1})


def test_a_process_that_dies_is_replaced(plain: Server, tmp_path: Path) -> None:
    with serving(plain.folder, tmp_path, workers=2) as server:
        with pytest.raises(httpx.RemoteProtocolError):
            server.score({"n": 7})
        assert server.score({"n": 1}).status_code == 200
        replaced = server.events.get(timeout=10)
        assert replaced.code == 7
        assert all(server.score({"n": 1}).status_code == 200 for _ in range(5))


def test_a_slow_request_holds_up_no_other(plain: Server) -> None:
    threads = [threading.Thread(target=plain.score, args=({"n": 8},)) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    began = time.monotonic()
    assert plain.score({"n": 1}).status_code == 200
    assert time.monotonic() - began < 0.5
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 1.6


def test_code_that_cannot_be_loaded_is_said_at_once(make_flow: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_flow(TEXT, say="import nowhere_to_be_found\ndef say(text):\n    pass")
    with pytest.raises(Invalid, match="the flow's code cannot be loaded"), serving(folder, tmp_path):
        pass


def test_a_port_in_use_is_said_at_once(plain: Server, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = Serving(port=other.getsockname()[1], home=tmp_path)
        with pytest.raises(Unavailable, match="is in use"):
            next(serve(flows.load(plain.folder), {}, where, threading.Event()))


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.2", True), ("::", False), ("0.0.0.0", False), ("me", False)])  # noqa: S104
def test_only_loopback_is_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_the_request_log_is_bounded(tmp_path: Path) -> None:
    folder = tmp_path / "spool" / "served"
    log = RequestLog(folder, flow="f", digest="d", mask=Mask([]), file_size=100, files=3)
    scope = {"headers": [], "method": "POST", "path": "/score", "query_string": b""}
    for number in range(5):
        call = Call(scope)
        call.feedback = {"number": number, "text": "x" * 100}
        log.add(call, 0.5)
        time.sleep(0.3)
    log.close()
    assert len(list(folder.iterdir())) == 3
    assert [each.feedback and each.feedback["number"] for each in served(tmp_path)] == [2, 3, 4]


def test_a_flex_flow_answers_with_just_what_it_returned(tmp_path: Path) -> None:
    folder = tmp_path / "flex"
    folder.mkdir()
    (folder / "flow.flex.yaml").write_text("entry: entry:answer\n")
    (folder / "entry.py").write_text(
        "def answer(word: str):\n    return {'word': word} if word == 'dict' else [word, 1]\n"
    )
    with serving(folder, tmp_path / "home") as server:
        assert server.score({"word": "list"}).json() == ["list", 1]
        assert server.score({"word": "dict"}).json() == {"word": "dict"}


@pytest.mark.browser
def test_the_page_runs_a_chat_and_remembers_it(chat: Server) -> None:
    from playwright.sync_api import expect, sync_playwright

    if (path := shutil.which("chromium")) is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(chat.url)
        for question, history in (("Hi", "[]"), ("More", "[({'question': 'Hi'}, {'turns': 0, 'answer': 'Hi after")):
            page.fill("#in-question", question)
            page.press("#in-question", "Enter")
            expect(page.locator(".turn.answer").last).to_contain_text(f"{question} after {history}")
            expect(page.locator("#send")).to_be_enabled()
        assert problems == []
        browser.close()
