"""Cassettes: what models answered, recorded in a file, so that a flow runs again with no network and the same answers.

A cassette is JSON lines, `{"request": …, "answer": …}`, one for each different request; people may read and commit it.
Requests hold what decides the answer (API, model, messages, parameters), never an address or a key.
"""

from __future__ import annotations

import asyncio
import difflib
import fcntl
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from workspace.errors import Invalid, Location, NotFound

Mode = Literal["record", "replay"]

_COMPARED = 500  # recordings that are looked at for the nearest one
_SHOWN = 40  # lines of a difference


class Missing(RuntimeError):
    """A request that was not recorded; the message shows how it differs from the nearest recording."""


class Cassette:
    """Recorded answers by request. A request that comes again gets the answer of the first time, in both modes.

    `record` asks for what is not in the file yet and appends it, `replay` asks nobody. Several processes may record
    into one file.
    """

    def __init__(self, path: Path, mode: Mode, answers: dict[str, Any], hide: Callable[[str], str]) -> None:
        self.path, self.mode = path, mode
        self._answers, self._hide = answers, hide
        self._asked: dict[str, asyncio.Task[Any]] = {}

    @classmethod
    def open(cls, path: Path, mode: Mode, *, hide: Callable[[str], str] = str) -> Cassette:
        """Open a cassette; `hide` takes secrets out of what is written. NotFound for none to replay, Invalid if torn.

        The last line may be torn where recording was killed: it is dropped.
        """
        if mode == "replay" and not path.is_file():
            raise NotFound(f"no cassette {str(path)!r}", hint="record one with --record")
        return cls(path, mode, _read(path) if path.is_file() else {}, hide)

    def __len__(self) -> int:
        return len(self._answers)

    async def exchange(self, request: Mapping[str, Any], send: Callable[[], Awaitable[Any]]) -> Any:
        """Return the recorded answer, or that of `send`, recorded. Raises Missing where nothing may be sent.

        The same request by several lines at once is sent once.
        """
        key = self._hide(_key(request))
        if key in self._answers:
            return json.loads(json.dumps(self._answers[key]))
        if self.mode == "replay":
            raise Missing(await asyncio.to_thread(self._miss, key))
        if (running := self._asked.get(key)) is None:
            running = self._asked[key] = asyncio.ensure_future(self._record(key, request, send))
            running.add_done_callback(lambda _: self._asked.pop(key, None))
        return json.loads(json.dumps(await asyncio.shield(running)))

    def answer(self, request: Mapping[str, Any]) -> Any:
        """Return a recorded answer, None where one is to be recorded. Raises Missing where nothing may be sent."""
        key = self._hide(_key(request))
        if key in self._answers:
            return json.loads(json.dumps(self._answers[key]))
        if self.mode == "replay":
            raise Missing(self._miss(key))
        return None

    def keep(self, request: Mapping[str, Any], answer: Any) -> None:
        """Record an answer that somebody else has asked for; the first one to a request stays."""
        key = self._hide(_key(request))
        if self.mode == "record" and key not in self._answers:
            self._append(self._line(request, answer))
            self._answers[key] = answer

    async def _record(self, key: str, request: Mapping[str, Any], send: Callable[[], Awaitable[Any]]) -> Any:
        answer = await send()
        await asyncio.to_thread(self._append, self._line(request, answer))
        self._answers[key] = answer
        return answer

    def _line(self, request: Mapping[str, Any], answer: Any) -> bytes:
        exchange = {"request": dict(request), "answer": answer}
        return self._hide(json.dumps(exchange, ensure_ascii=False, sort_keys=True)).encode("utf-8", "replace") + b"\n"

    def _append(self, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            if (kept := file.read()) and not kept.endswith(b"\n"):
                begun = kept.rfind(b"\n") + 1
                if _is_json(kept[begun:]):  # an editor took the end of the line away
                    line = b"\n" + line
                else:  # somebody was killed while writing
                    file.truncate(begun)
            file.write(line)

    def _miss(self, key: str) -> str:
        asked = _lines(key)
        said = f"the cassette {self.path.name!r} has no answer to this request"
        recorded = [_lines(other) for other in list(self._answers)[-_COMPARED:]]
        if not recorded:
            return f"{said}: it is empty. Record it with --record {self.path.name}"
        nearest = max(recorded, key=lambda lines: difflib.SequenceMatcher(None, lines, asked).ratio())
        found = list(difflib.unified_diff(nearest, asked, "nearest recording", "this request", n=1, lineterm=""))
        more = f"\n… {len(found) - _SHOWN} lines more" if len(found) > _SHOWN else ""
        shown = "\n".join(found[:_SHOWN])
        return f"{said}. Record it with --record {self.path.name}, or put back what changed:\n{shown}{more}"


def _read(path: Path) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    content = path.read_bytes()
    lines = content.splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as error:
            if number == len(lines) and not content.endswith(b"\n"):
                break  # recording was killed
            raise Invalid(f"not JSON: {error}", at=Location(path, number)) from None
        if not isinstance(found, dict) or not {"request", "answer"} <= found.keys():
            raise Invalid("no recorded call: it has a `request` and an `answer`", at=Location(path, number))
        answers.setdefault(_key(found["request"]), found["answer"])
    return answers


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _key(request: Mapping[str, Any]) -> str:
    return json.dumps(request, sort_keys=True, ensure_ascii=False)


def _lines(key: str) -> list[str]:
    """A request as people compare it: a key a line, and texts by their own lines."""
    lines = []
    for line in json.dumps(json.loads(key), indent=1, ensure_ascii=False, sort_keys=True).splitlines():
        lines.extend(line.replace("\\n", "\\n\n").splitlines())
    return lines
