"""What an engine says: its log, from the last lines on, and on as it grows, across restarts."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from workspace.errors import NotFound, did_you_mean
from workspace.paths import safe_join

LOOK = 0.2  # seconds between looks for more


def read(home: Path, name: str, *, lines: int = 50, follow: bool = False) -> Iterator[str]:
    """Yield the last lines of an engine's log, and what comes after them for as long as somebody wants it."""
    folder = home / "logs"
    path = safe_join(folder, f"engine-{name}.log")
    if not path.is_file():
        known = [each.stem.removeprefix("engine-") for each in folder.glob("engine-*.log")]
        raise NotFound(f"no engine {name!r} has said anything here", hint=did_you_mean(name, known))
    with path.open("rb") as file:
        yield from (_shown(line) for line in deque(file, maxlen=lines))
        position = file.tell()
    while follow:
        if path.is_file():
            position = 0 if path.stat().st_size < position else position  # a new log has begun
            with path.open("rb") as file:
                file.seek(position)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # the rest is still to come
                    position += len(line)
                    yield _shown(line)
        time.sleep(LOOK)


def _shown(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r\n")
