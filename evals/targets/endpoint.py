"""A model behind an OpenAI-compatible address: chats, completions, and the likeliest of several choices."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from evals.cache import Cache, key_of
from evals.targets.http import Broken, Client, Reply, client
from evals.targets.target import Answer, Question
from evals.tasks.rows import LETTERS, Row
from evals.tasks.task import Choosing
from flows.pace import Pace, asked_pause
from flows.prices import Prices

Api = Literal["chat", "completion"]

_ROUTES = {"chat": "chat/completions", "completion": "completions"}
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_LONGEST_PAUSE = 60.0  # seconds, of one pause
_REVISION = ("id", "created", "owned_by", "root", "revision", "digest", "studiolo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often one question is asked: `tries` in all, `slow` of them may take too long, `busy` seconds of 429s."""

    tries: int = 5
    slow: int = 2
    busy: float = 600.0
    first: float = 0.25  # seconds before the second try; each further one waits twice as long


@dataclass(kw_only=True)
class Endpoint:
    """A model at an address. `generate` goes into every request, of `extra_body` what is in it.

    `choosing` says how choices are told.

    `revision` is what is known here of the model's weights. At most `concurrency` requests are out at once, fewer
    while the server says 429 or 503.
    """

    base_url: str
    model: str
    key: str = field(default="", repr=False)
    api: Api = "chat"
    generate: Mapping[str, Any] = field(default_factory=dict)
    choosing: Choosing | None = None
    revision: str = ""
    concurrency: int = 16
    timeout: float = 120.0
    patience: Patience = field(default_factory=Patience)
    prices: Prices = field(default_factory=lambda: Prices({}))
    cache: Cache | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = self.model
        self.digest = ""
        self.made_of: tuple[str, ...] = ()
        self._client: Client | None = None
        self._pace = Pace(self.concurrency, self.concurrency)

    async def open(self, questions: Sequence[tuple[Row, int]], folder: Path) -> None:  # noqa: ARG002
        """Connect, and learn which revision of the model answers, where the server tells."""
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        self._client = client(self.base_url, {**headers, **self.headers})
        self.digest = key_of(self.base_url.rstrip("/"), self.model, self.revision, await self._revision()).hex()

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    async def answer(self, question: Question) -> Answer:
        """Ask, again where the server says so or breaks off; an answer without text says why."""
        began = time.monotonic()
        if self.choosing is not None and self.choosing != "letter":
            answer = await self._likeliest(question)
        else:
            body = self._body(question)
            answer = await self._asked(body, question, _ROUTES[self.api])
            if answer.text is not None and self.choosing == "letter":
                answer = replace(answer, outputs={**answer.outputs, "said": answer.text})
        return replace(answer, seconds=time.monotonic() - began)

    def _body(self, question: Question) -> dict[str, Any]:
        said: dict[str, Any] = {"model": self.model, **self.generate}
        said |= said.pop("extra_body", {})
        if self.api == "chat":
            said["messages"] = question.messages
        else:
            said["prompt"] = question.prompt
        if question.seed is not None:
            said["seed"] = question.seed
        return said

    async def _asked(self, body: Mapping[str, Any], question: Question, route: str) -> Answer:
        asked = body.get("messages") or body.get("prompt")
        key = None
        if self.cache is not None:
            key = key_of(self.digest, route, body, question.epoch)
            if (found := self.cache.get(key)) is not None:
                return replace(self._read(found, route, asked), kept=True)
        found, error, absent = await self._exchange(route, orjson.dumps(body))
        if found is None:
            return Answer(error=error, absent=absent, asked=asked)
        answer = self._read(found, route, asked)
        if key is not None and self.cache is not None and answer.error is None:
            self.cache.put(key, found)
        return answer

    def _read(self, found: Mapping[str, Any], route: str, asked: Any) -> Answer:
        choice = found["choices"][0]
        message = choice.get("message") or {}
        text = message.get("content") if route.startswith("chat") else choice.get("text")
        outputs = {
            name: value
            for name, value in (
                ("tool_calls", message.get("tool_calls")),
                ("reasoning", message.get("reasoning_content")),
                ("finish_reason", choice.get("finish_reason")),
                ("logprobs", choice.get("logprobs")),
            )
            if value and value != "stop"
        }
        tokens = _tokens(found.get("usage"))
        model = str(found.get("model") or self.model)
        return Answer(
            text=text or "", outputs=outputs, asked=asked, tokens=tokens if any(tokens) else None, model=model,
            cost=self.prices.of(model, *tokens),
        )  # fmt: skip

    async def _exchange(self, route: str, body: bytes) -> tuple[dict[str, Any] | None, str, bool]:
        """Send until the answer is good, or return why it is not and whether nobody was there."""
        assert self._client is not None  # noqa: S101 - opened first
        tries = slow = 0
        waited = 0.0
        while True:
            async with self._pace as pace:
                reply, error = await self._sent(self._client, route, body)
            if reply is not None and reply.status == 200:
                if (found := _completion(reply.body)) is not None:
                    if named := reply.headers.get("x-studiolo-model"):
                        found["model"] = named
                    pace.answered()
                    return found, "", False
                error = f"the endpoint answered what no OpenAI server does: {_beginning(reply.body)}"
            elif reply is not None:
                error = f"the endpoint answered {reply.status}: {_reason(reply.body)}"
                if reply.status not in _AGAIN or b"insufficient_quota" in reply.body:
                    return None, error, reply.status in (401, 403, 404)
            is_busy = reply is not None and reply.status == 429
            tries += not is_busy
            slow += error.startswith("no answer within")
            pause = asked_pause("" if reply is None else reply.headers.get("retry-after", "").strip())
            if pause is None:
                pause = self.patience.first * 2 ** max(tries - 1, 0) * random.uniform(0.75, 1.25)  # noqa: S311
            pause = min(pause, _LONGEST_PAUSE)
            waited += pause
            if tries >= self.patience.tries or slow >= self.patience.slow or waited > self.patience.busy:
                return None, error, reply is None
            if reply is not None and reply.status in (429, 503, 529):
                pace.refused()
            await asyncio.sleep(pause)

    async def _sent(self, client: Client, route: str, body: bytes) -> tuple[Reply | None, str]:
        try:
            async with asyncio.timeout(self.timeout):
                return await client.ask("POST", route, body), ""
        except TimeoutError:
            return None, f"no answer within {self.timeout:g} seconds"
        except Broken as error:
            return None, f"the endpoint broke off: {error}"
        except OSError as error:
            return None, f"the endpoint cannot be reached: {error}"

    async def _revision(self) -> Any:
        """Return what the server says of the model, None where it says nothing."""
        assert self._client is not None  # noqa: S101 - opened first
        try:
            async with asyncio.timeout(min(self.timeout, 10.0)):
                reply = await self._client.ask("GET", "models")
            listed = orjson.loads(reply.body)["data"] if reply.status == 200 else ()
            said = next((each for each in listed if each["id"] == self.model), None)
        except (OSError, TimeoutError, ValueError, LookupError, TypeError):
            return None  # the questions will meet the same trouble and say so
        return None if said is None else {name: said[name] for name in _REVISION if name in said}

    async def _likeliest(self, question: Question) -> Answer:
        """Choose by the log-likelihood that the model gives each choice after the prompt."""
        texts = question.row.choices
        if not texts:
            return Answer(error="the row has no choices")
        prompt = question.prompt
        shown = LETTERS[: len(texts)] if self.choosing == "letter_loglikelihood" else texts
        sums: list[float] = []
        tokens, cost, model, kept = 0, None, None, True
        for choice in shown:
            said = {
                "model": self.model, "prompt": f"{prompt} {choice}", "max_tokens": 1, "temperature": 0, "echo": True,
                "logprobs": 1,
            }  # fmt: skip
            answer = await self._asked(said, question, "completions")
            found = None if answer.error else _likelihood(answer.outputs.get("logprobs"), len(prompt))
            if found is None:
                error = answer.error or "the endpoint gives no log-probabilities of what it is sent (`echo`)"
                return Answer(error=error, absent=answer.absent, asked=prompt)
            sums.append(found)
            tokens += answer.tokens[0] if answer.tokens else 0
            cost = answer.cost if cost is None else cost + (answer.cost or 0.0)
            model, kept = answer.model, kept and answer.kept
        lengths = [len(text) for text in texts]
        by_length = [total / max(length, 1) for total, length in zip(sums, lengths, strict=True)]
        outputs = {"loglikelihoods": sums, "normalized_answer": LETTERS[by_length.index(max(by_length))]}
        return Answer(
            text=LETTERS[sums.index(max(sums))], outputs=outputs, asked=prompt, tokens=(tokens, 0) if tokens else None,
            cost=cost, model=model, kept=kept,
        )  # fmt: skip


def _completion(body: bytes) -> dict[str, Any] | None:
    """Read an answer; None where it is no completion with a text, calls or log-probabilities."""
    try:
        found = orjson.loads(body)
        first = found["choices"][0]
        said = first.get("message", first)
        text = said.get("content", said.get("text"))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return dict(found) if isinstance(text, str) or said.get("tool_calls") else None


def _tokens(usage: Any) -> tuple[int, int]:
    """Return what a server says it spent, nothing where it says it in no numbers."""
    said = usage if isinstance(usage, dict) else {}
    asked, answered = said.get("prompt_tokens"), said.get("completion_tokens")
    return (asked if isinstance(asked, int) else 0, answered if isinstance(answered, int) else 0)


def _likelihood(logprobs: Any, start: int) -> float | None:
    """Add up the log-probabilities of the tokens that reach beyond `start`, without the last, which was made.

    A token that begins before and ends after counts: where words are cut is the model's to choose.
    """
    try:
        ends, values = logprobs["text_offset"][1:], logprobs["token_logprobs"][:-1]
        inside = [value for end, value in zip(ends, values, strict=True) if end > start]
    except (LookupError, TypeError, ValueError):
        return None
    return sum(inside) if inside and None not in inside else None


def _reason(body: bytes) -> str:
    try:
        error = orjson.loads(body)["error"]
        return str(error["message"] if isinstance(error, dict) else error)[:500]
    except (ValueError, LookupError, TypeError):
        return _beginning(body)


def _beginning(body: bytes) -> str:
    return repr(body[:200].decode("utf-8", "replace"))
