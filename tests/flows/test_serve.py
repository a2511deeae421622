"""A served flow over HTTP: prompt flow's contract, byte for byte where clients look, and its processes."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import flows
from flows.serve.workers import Serving, is_loopback, serve
from workspace.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.flows.conftest import Server

Serve = Callable[..., "AbstractContextManager[Server]"]


BROKEN = """\
outputs: {a: {type: string, reference: "${say.output}"}}
nodes:
- {name: say, type: python, source: {type: code, path: say.py}}
"""
SEE = """\
inputs: {image: {type: image}}
outputs: {said: {type: string, reference: "${see.output}"}}
nodes:
- {name: see, type: python, source: {type: code, path: see.py}, inputs: {image: "${inputs.image}"}}
"""


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


@pytest.mark.parametrize("accept", ["application/json", "*/*", "text/html, */*;q=0.8", "application/*"])
def test_json_is_given_to_who_takes_it(plain: Server, accept: str) -> None:
    assert plain.score({"n": 1}, accept=accept).status_code == 200


@pytest.mark.parametrize("accept", ["text/event-stream", "text/html"])
def test_what_a_flow_cannot_give_is_not_acceptable(plain: Server, accept: str) -> None:
    expected = f"Media type {accept} in Accept header is not acceptable. Supported media type(s) - application/json"
    assert error_of(plain.score({"n": 1}, accept=accept)) == (406, "UserError", expected)


def test_an_image_that_cannot_be_read_is_the_clients_doing(
    tmp_path: Path, write: Callable[..., Path], serving: Serve
) -> None:
    folder = write(tmp_path / "see", SEE, see="def see(image):\n    return 'seen'\n")
    with serving(folder, tmp_path / "home") as server:
        status, code, said = error_of(server.score({"image": {"data:image/png;base64": "bm8gaW1hZ2U="}}))
    assert (status, code) == (400, "UserError")
    assert said.startswith("input: ")


def test_the_environment_says_which_outputs_are_answered(plain: Server, tmp_path: Path, serving: Serve) -> None:
    included = {"PROMPTFLOW_RESPONSE_INCLUDED_FIELDS": '["hidden"]'}
    with serving(plain.folder, tmp_path, environment=included) as server:
        assert server.score({"n": 2}).json() == {"hidden": 4}


def test_where_a_flow_is_deployed_decides_over_its_file(
    make_flow: Callable[..., Path], plain: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serving: Serve
) -> None:
    monkeypatch.setenv("FROM_BOTH", "from here")
    look = (
        "def work(n: int):\n    import os\n    return [os.environ.get(f'FROM_{x}') for x in ('FILE', 'BOTH', 'CALL')]"
    )
    folder = make_flow((plain.folder / "flow.dag.yaml").read_text(), work=look, after="def after(n):\n    pass")
    with serving(folder, tmp_path / "home", environment={"FROM_CALL": "given"}) as server:
        assert server.score({"n": 1}).json()["twice"] == ["from the file", "from here", "given"]


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


def test_a_body_may_not_be_too_large(plain: Server) -> None:
    assert error_of(plain.score({"n": 1, "word": "x" * 10_000_001}))[:2] == (413, "UserError")


def test_only_this_machine_and_its_own_page_may_ask(plain: Server) -> None:
    assert plain.score({"n": 1}, host="evil.test").status_code == 421
    assert plain.score({"n": 1}, origin="http://evil.test").status_code == 403
    assert plain.score({"n": 1}, origin=plain.url).status_code == 200


def test_with_a_token_only_its_bearer_is_answered(plain: Server, tmp_path: Path, serving: Serve) -> None:
    with serving(plain.folder, tmp_path, token="t" * 32) as server:
        assert server.score({"n": 1}).status_code == 401
        assert server.score({"n": 1}, authorization="Bearer wrong").status_code == 401
        assert server.score({"n": 1}, authorization=f"Bearer {'t' * 32}").json()["twice"] == 2
        assert httpx.get(f"{server.url}/v1/models").json()["error"]["type"] == "authentication_error"
        assert [httpx.get(f"{server.url}{path}").status_code for path in ("/", "/health")] == [200, 200]


# The processes


def test_what_is_under_way_is_answered_before_the_end(plain: Server, tmp_path: Path, serving: Serve) -> None:
    with serving(plain.folder, tmp_path) as server:
        answers: queue.SimpleQueue[httpx.Response] = queue.SimpleQueue()
        threading.Thread(target=lambda: answers.put(server.score({"n": 8}))).start()
        time.sleep(0.4)
        server.stop.set()
        assert answers.get(timeout=5).json()["twice"] == 16
        assert server.ended.wait(5)
        with pytest.raises(httpx.ConnectError):
            server.score({"n": 1})


def test_a_process_that_dies_is_replaced(plain: Server, tmp_path: Path, serving: Serve) -> None:
    with serving(plain.folder, tmp_path, workers=2) as server:
        with pytest.raises(httpx.RemoteProtocolError):
            server.score({"n": 7})
        assert server.score({"n": 1}).status_code == 200
        replaced = server.events.get(timeout=10)
        assert replaced.code == 7
        assert all(server.score({"n": 1}).status_code == 200 for _ in range(5))


@pytest.mark.alone
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


def test_code_that_cannot_be_loaded_is_said_at_once(
    make_flow: Callable[..., Path], tmp_path: Path, serving: Serve
) -> None:
    folder = make_flow(BROKEN, say="import nowhere_to_be_found\ndef say():\n    pass")
    said = r"say\.py:\d+: the flow's code cannot be loaded"
    with pytest.raises(Invalid, match=said), serving(folder, tmp_path):
        pass


def test_a_port_in_use_is_said_at_once(plain: Server, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = Serving(port=other.getsockname()[1], home=tmp_path)
        with pytest.raises(Unavailable, match="is in use"):
            next(serve(flows.load(plain.folder), {}, where, threading.Event()))


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.2", True), ("::", False), ("0.0.0.0", False), ("me", False)])  # noqa: S104
def test_only_loopback_is_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_flow_that_waits_for_a_person_says_so(make_flow: Callable[..., Path], tmp_path: Path, serving: Serve) -> None:
    text = """\
inputs: {x: {type: int}}
outputs: {y: {type: object, reference: "${ask.output}"}}
nodes:
- {name: ask, type: approval, inputs: {x: "${inputs.x}"}}
"""
    with serving(make_flow(text), tmp_path / "home") as server:
        assert error_of(server.score({"x": 1}))[:2] == (409, "UserError")


def test_a_flex_flow_answers_with_just_what_it_returned(tmp_path: Path, serving: Serve) -> None:
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
def test_the_page_runs_a_chat_and_remembers_it(chat: Server, chromium: Browser) -> None:
    from playwright.sync_api import expect

    page = chromium.new_page()
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
    page.close()
