"""Server-sent events as bytes and back, however a stream is cut."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

DONE = b"data: [DONE]\n\n"
_END = re.compile(rb"\r?\n\r?\n")


class Lines:
    """One stream. `feed` yields (name, data) of each event that is whole; the name is "" where none is given."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield the events that are complete with this piece."""
        *whole, self._rest = _END.split(self._rest + piece)
        for event in whole:
            if event.strip():
                yield _read(event)


def event(name: str, value: Mapping[str, Any]) -> bytes:
    """Return one event, named."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), json.dumps(value).encode())


def _read(block: bytes) -> tuple[str, bytes]:
    name, data = "", []
    for line in block.splitlines():
        field, _, value = line.partition(b":")
        if field == b"event":
            name = value.strip().decode("utf-8", "replace")
        elif field == b"data":
            data.append(value.removeprefix(b" "))
    return name, b"\n".join(data)
