"""Chats with the models of the gateway: kept in the workspace, so that a reload or a colleague finds them again."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from serving import service
from serving.local import Gateway
from workspace.errors import Invalid, NotFound, StudioloError, Unavailable
from workspace.home import Workspace
from workspace.paths import locked, write_atomically

if TYPE_CHECKING:
    from openai import OpenAI, Stream
    from openai.types.chat import ChatCompletionChunk

SETTLING = 10.0  # seconds within which an answer that was told to stop comes to the next token and ends
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Whom to ask and how; `seed=None` lets every answer differ."""

    model: str
    system: str = ""
    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 256
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How an answer came about. `stopped` says that the person cut it short; then the tokens are not known."""

    sampling: Sampling
    model: str = ""  # the asset that answered: "model:smollm2-135m-instruct:1"
    deployment: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first_token: float | None = None
    seconds: float = 0.0
    stopped: bool = False

    @property
    def tokens_per_second(self) -> float | None:
        """Return the speed after the first token, or None where it cannot be known."""
        if self.first_token is None or not self.completion_tokens or self.seconds <= self.first_token:
            return None
        return (self.completion_tokens - 1) / (self.seconds - self.first_token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message; an answer carries how it was measured."""

    role: Literal["user", "assistant"]
    text: str
    measured: Measured | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A conversation under its id; it ends with a question where the answer is still to come.

    `reply` is the answer that is being given: no other may be written under the question.
    """

    id: str
    turns: tuple[Turn, ...] = ()
    reply: str = ""

    @property
    def open_question(self) -> bool:
        """Whether the last word was the person's."""
        return bool(self.turns) and self.turns[-1].role == "user"


def running_gateway(workspace: Workspace) -> Gateway:
    """Return the gateway that runs in this workspace; Unavailable where none does."""
    if (found := service.running(workspace.home)) is None:
        raise Unavailable("the gateway is not running", hint="start it with `studiolo up`")
    return Gateway(f"http://127.0.0.1:{found.port}/v1", workspace.tokens.local())


def chat_models(workspace: Workspace, gateway: Gateway) -> list[str]:
    """Return the names of endpoints and models that chat, that of the settings first."""
    embedders = {asset.name for asset in workspace.assets.list("model") if asset.properties.get("task") == "embedding"}
    with _translated(), _client(gateway) as client:
        names = [model.id for model in client.models.list() if model.id not in embedders]
    return sorted(names, key=lambda name: (name != workspace.settings.model, name))


def new_chat() -> Chat:
    """Return an empty conversation; it is kept from its first question on."""
    return Chat(id=secrets.token_hex(8))


def load_chat(workspace: Workspace, identifier: str) -> Chat:
    """Return a conversation that was kept; NotFound where there is none."""
    path = _path(workspace, identifier)
    if not path.exists():
        raise NotFound(f"no chat {identifier!r}", hint="it may have been made in another workspace")
    content = json.loads(path.read_text())
    turns = tuple(_turn(turn) for turn in content["turns"])
    return Chat(id=content["id"], turns=turns, reply=content.get("reply", ""))


def ask(workspace: Workspace, chat: Chat, question: str) -> Chat:
    """Add a question and keep the conversation."""
    if not question.strip():
        raise Invalid("the question is empty")
    return _keep(workspace, replace(chat, turns=(*chat.turns, Turn(role="user", text=question)), reply=""))


def ask_again(workspace: Workspace, chat: Chat) -> Chat:
    """Take the last answer back, so that it is given anew."""
    turns = chat.turns[:-1] if chat.turns and chat.turns[-1].role == "assistant" else chat.turns
    return _keep(workspace, replace(chat, turns=turns, reply=""))


def settle(workspace: Workspace, identifier: str) -> Chat:
    """Return a conversation whose answer somebody else, told to stop, is giving up: once it is kept as far as it came.

    An answer without a word so far is not waited for, and not kept when it comes.
    """
    with locked(_lock(workspace, identifier), patience=SETTLING):
        chat = load_chat(workspace, identifier)
        return _keep(workspace, replace(chat, reply="")) if chat.reply else chat


def reply(workspace: Workspace, gateway: Gateway, chat: Chat, sampling: Sampling) -> Generator[str, None, None]:
    """Yield the answer to the open question as it is generated, and keep it, whole or as far as it came.

    Closing the iterator closes the connection, which ends the generation. What has been asked or given up meanwhile
    is left as it is.
    """
    if not chat.open_question:
        raise Invalid("there is no open question")
    chat = _keep(workspace, replace(chat, reply=secrets.token_hex(8)))
    came: list[str] = []
    measured = Measured(sampling=sampling, stopped=True)
    started = time.monotonic()
    with ExitStack() as writing:
        try:
            with _translated(), _client(gateway) as client, _stream(client, chat, sampling) as stream:
                measured = _by_whom(measured, stream)
                for chunk in stream:
                    measured = _counted(measured, chunk)
                    if chunk.choices and (piece := chunk.choices[0].delta.content):
                        if not came:  # from here on it will be kept, and whoever settles waits for that
                            measured = replace(measured, first_token=time.monotonic() - started)
                            writing.enter_context(locked(_lock(workspace, chat.id)))
                            if load_chat(workspace, chat.id).reply != chat.reply:
                                return
                        came.append(piece)
                        yield piece
                measured = replace(measured, stopped=False)
        finally:
            measured = replace(measured, seconds=time.monotonic() - started)
            if came or not measured.stopped:
                _keep_answer(workspace, chat, Turn(role="assistant", text="".join(came), measured=measured))


def as_curl(gateway: Gateway, chat: Chat, sampling: Sampling) -> str:
    """Return the command that asks the same; the token stays in its file."""
    body = json.dumps(_body(chat, sampling), indent=2, ensure_ascii=False).replace("'", "'\\''")
    return (
        f"curl {gateway.base_url}/chat/completions \\\n"
        '  -H "Authorization: Bearer $(cat .studiolo/token)" \\\n'
        f"  -H 'Content-Type: application/json' \\\n  -d '{body}'"
    )


def as_python(gateway: Gateway, chat: Chat, sampling: Sampling) -> str:
    """Return the Python that asks the same through the official client."""
    body = _body(chat, sampling)
    arguments = "".join(f"    {name}={value!r},\n" for name, value in body.items())
    return (
        "from pathlib import Path\n\nfrom openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{gateway.base_url}", api_key=Path(".studiolo/token").read_text().strip())\n'
        f"answer = client.chat.completions.create(\n{arguments})\nprint(answer.choices[0].message.content)\n"
    )


def _body(chat: Chat, sampling: Sampling) -> dict[str, Any]:
    turns = chat.turns or (Turn(role="user", text="Say hello."),)
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    if sampling.system.strip():
        messages.insert(0, {"role": "system", "content": sampling.system})
    body: dict[str, Any] = {"model": sampling.model, "messages": messages, "temperature": sampling.temperature}
    body |= {"top_p": sampling.top_p, "max_tokens": sampling.max_tokens}
    return body if sampling.seed is None else body | {"seed": sampling.seed}


def _stream(client: OpenAI, chat: Chat, sampling: Sampling) -> Stream[ChatCompletionChunk]:
    stream: Stream[ChatCompletionChunk] = client.chat.completions.create(
        **_body(chat, sampling), stream=True, stream_options={"include_usage": True}
    )
    return stream


def _by_whom(measured: Measured, stream: Stream[ChatCompletionChunk]) -> Measured:
    headers = stream.response.headers
    model, deployment = headers.get("x-studiolo-model", ""), headers.get("x-studiolo-deployment", "")
    return replace(measured, model=model, deployment=deployment)


def _counted(measured: Measured, chunk: ChatCompletionChunk) -> Measured:
    if not chunk.usage:
        return measured
    tokens = chunk.usage
    return replace(measured, prompt_tokens=tokens.prompt_tokens, completion_tokens=tokens.completion_tokens)


def _client(gateway: Gateway) -> OpenAI:
    from openai import OpenAI

    return OpenAI(base_url=gateway.base_url, api_key=gateway.token, max_retries=0, timeout=300)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the client's errors into ours, in the words of the gateway."""
    from openai import APIConnectionError, APIStatusError

    try:
        yield
    except APIStatusError as error:
        raise _ours(error) from error
    except APIConnectionError as error:
        raise Unavailable("the gateway does not answer", hint="see `studiolo status`") from error


def _ours(error: Any) -> StudioloError:
    body = error.body if isinstance(error.body, Mapping) else {}
    message = str(body.get("message") or error.message)
    kind = NotFound if error.status_code == 404 else Invalid if error.status_code < 500 else Unavailable
    return kind(message, hint=None if error.status_code < 500 else "see `studiolo status`, then ask again")


def _keep(workspace: Workspace, chat: Chat) -> Chat:
    write_atomically(_path(workspace, chat.id), json.dumps(asdict(chat), ensure_ascii=False))
    return chat


def _keep_answer(workspace: Workspace, asked: Chat, answer: Turn) -> None:
    """Write an answer under its question, unless the conversation has gone on without it."""
    kept = load_chat(workspace, asked.id)
    if kept.reply == asked.reply:
        _keep(workspace, replace(kept, turns=(*kept.turns, answer), reply=""))


def _lock(workspace: Workspace, identifier: str) -> Path:
    return _path(workspace, identifier).with_suffix(".lock")


def _path(workspace: Workspace, identifier: str) -> Path:
    if not _ID.fullmatch(identifier):
        raise NotFound(f"no chat {identifier!r}", hint="the address may have been cut short")
    return workspace.home / "chats" / f"{identifier}.json"


def _turn(content: Mapping[str, Any]) -> Turn:
    measured = content["measured"]
    if measured:
        measured = Measured(**measured | {"sampling": Sampling(**measured["sampling"])})
    return Turn(role=content["role"], text=content["text"], measured=measured)
