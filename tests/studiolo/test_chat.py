"""Chats are kept as they go; nothing but their own files can be asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Semaphore, Thread

import pytest

import studiolo
from serving.local import Gateway
from workspace import Workspace
from workspace.errors import Invalid, NotFound, Unavailable

ASKED = studiolo.Sampling(model="smollm2-135m-instruct", max_tokens=8, temperature=0.0)


@dataclass
class Model:
    """A server that streams its words, each when it may."""

    gateway: Gateway
    asked: Semaphore
    says: Semaphore


@contextmanager
def speaking(*words: str) -> Iterator[Model]:
    asked, says = Semaphore(0), Semaphore(0)

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            asked.release()
            with suppress(BrokenPipeError, ConnectionResetError):  # the client may leave
                for word in words:
                    says.acquire(timeout=20)
                    chunk = {"choices": [{"index": 0, "delta": {"content": word}}]}
                    self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield Model(Gateway(f"http://127.0.0.1:{server.server_port}/v1", "secret"), asked, says)
        says.release(len(words))
        server.shutdown()


@pytest.mark.model
def test_an_answer_is_kept_with_its_tokens_times_and_model(model_workspace: Workspace, gateway: Gateway) -> None:
    chat = studiolo.ask(model_workspace, studiolo.new_chat(), "What is the capital of France?")
    text = "".join(studiolo.reply(model_workspace, gateway, chat, ASKED))
    kept = studiolo.load_chat(model_workspace, chat.id).turns[-1]
    assert kept.text == text
    assert kept.measured is not None
    assert kept.measured.completion_tokens == 8
    assert kept.measured.tokens_per_second
    assert kept.measured.model == "model:smollm2-135m-instruct:1"


@pytest.mark.model
def test_an_answer_cut_short_is_kept_as_far_as_it_came(model_workspace: Workspace, gateway: Gateway) -> None:
    chat = studiolo.ask(model_workspace, studiolo.new_chat(), "Tell me a long story.")
    pieces = studiolo.reply(model_workspace, gateway, chat, studiolo.Sampling(model=ASKED.model, max_tokens=500))
    first = next(pieces)
    pieces.close()
    kept = studiolo.load_chat(model_workspace, chat.id).turns[-1]
    assert kept.text == first
    assert kept.measured is not None
    assert kept.measured.stopped


def test_who_settles_a_chat_waits_until_the_answer_is_kept_as_far_as_it_came(workspace: Workspace) -> None:
    with speaking("Once", "upon", "a time") as model, ThreadPoolExecutor(2) as threads:
        chat = studiolo.ask(workspace, studiolo.new_chat(), "Tell me a long story.")
        pieces = studiolo.reply(workspace, model.gateway, chat, ASKED)
        model.says.release()
        first = threads.submit(next, pieces).result(20)
        settled = threads.submit(studiolo.settle, workspace, chat.id)
        with pytest.raises(TimeoutError):
            settled.result(0.3)
        threads.submit(pieces.close).result(20)
        last = settled.result(20).turns[-1]
    assert (last.text, last.measured and last.measured.stopped) == (first, True)


def test_an_answer_given_up_before_its_first_word_is_not_kept_when_that_comes(workspace: Workspace) -> None:
    with speaking("Once", "upon", "a time") as model, ThreadPoolExecutor(1) as threads:
        chat = studiolo.ask(workspace, studiolo.new_chat(), "Tell me a long story.")
        late = threads.submit(lambda: list(studiolo.reply(workspace, model.gateway, chat, ASKED)))
        assert model.asked.acquire(timeout=20)
        assert studiolo.settle(workspace, chat.id) == chat
        model.says.release(3)
        assert late.result(20) == []
    assert studiolo.load_chat(workspace, chat.id) == chat


def test_a_question_asked_while_an_answer_comes_is_not_lost_to_it(workspace: Workspace) -> None:
    with speaking("Once", "upon", "a time") as model:
        model.says.release(3)
        chat = studiolo.ask(workspace, studiolo.new_chat(), "Tell me a long story.")
        pieces = studiolo.reply(workspace, model.gateway, chat, ASKED)
        next(pieces)
        other = studiolo.ask(workspace, studiolo.load_chat(workspace, chat.id), "Or rather a short one.")
        assert "".join(pieces) == "upona time"
    assert studiolo.load_chat(workspace, chat.id) == other


@pytest.mark.model
def test_what_the_gateway_measured_is_in_the_ledger(model_workspace: Workspace, gateway: Gateway) -> None:
    chat = studiolo.ask(model_workspace, studiolo.new_chat(), "What is the capital of Norway?")
    "".join(studiolo.reply(model_workspace, gateway, chat, ASKED))
    question = """SELECT endpoint, model, status, completion_tokens, first_byte_ms > 0, duration_ms >= first_byte_ms
        FROM requests WHERE completion_tokens = 8 ORDER BY ts DESC LIMIT 1"""
    wanted = [(ASKED.model, f"model:{ASKED.model}:1", 200, 8, True, True)]
    deadline = time.monotonic() + 20  # the row comes after the answer
    while model_workspace.sql(question).rows != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    assert model_workspace.sql(question).rows == wanted


@pytest.mark.model
def test_an_unknown_model_is_refused_in_our_words(model_workspace: Workspace, gateway: Gateway) -> None:
    chat = studiolo.ask(model_workspace, studiolo.new_chat(), "Hello?")
    with pytest.raises(NotFound, match="nobody"):
        next(studiolo.reply(model_workspace, gateway, chat, studiolo.Sampling(model="nobody")))
    assert studiolo.load_chat(model_workspace, chat.id).open_question


@pytest.mark.parametrize("identifier", ["", "..", "../token", "a" * 15, "A" * 16, "0" * 16, "0" * 16 + "\n"])
def test_a_chat_that_was_not_kept_is_not_found(workspace: Workspace, identifier: str) -> None:
    with pytest.raises(NotFound):
        studiolo.load_chat(workspace, identifier)


def test_an_empty_question_is_refused(workspace: Workspace) -> None:
    with pytest.raises(Invalid):
        studiolo.ask(workspace, studiolo.new_chat(), " \n")


def test_asking_again_takes_the_answer_back(workspace: Workspace) -> None:
    chat = studiolo.ask(workspace, studiolo.new_chat(), "Hello?")
    answered = studiolo.Chat(id=chat.id, turns=(*chat.turns, studiolo.Turn(role="assistant", text="Hi.")))
    assert studiolo.ask_again(workspace, answered) == chat


def test_without_a_gateway_the_hint_says_how_to_start_it(workspace: Workspace) -> None:
    with pytest.raises(Unavailable) as error:
        studiolo.running_gateway(workspace)
    assert "studiolo up" in str(error.value.hint)


def test_shown_code_survives_any_quote_and_holds_no_token() -> None:
    gateway = Gateway("http://127.0.0.1:1/v1", "secret")
    chat = studiolo.Chat(id="0" * 16, turns=(studiolo.Turn(role="user", text="it's \"so\" '''"),))
    python = studiolo.as_python(gateway, chat, ASKED)
    compile(python, "shown", "exec")
    assert "secret" not in python + studiolo.as_curl(gateway, chat, ASKED)
    assert "it'\\''s" in studiolo.as_curl(gateway, chat, ASKED)
