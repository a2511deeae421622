"""Which worker runs what, where tests run on several: files that share what takes long to start go to one of them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).parents[1]
ROOMS = {
    "models": re.compile(r"\bgateway: (Gateway|Any)\b|\bstudio: Any\b"),
    "ray": re.compile(r"\bray_head\b|\bmark\.ray\b"),
}
LONG = re.compile(r"\bmark\.(timeout|slow)\b")


@cache
def room(file: str) -> str:
    """Return the room of a test file: one of ROOMS, or a room of its own."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return next((name for name, words in ROOMS.items() if words.search(text)), file)


@cache
def turn(file: str) -> int:
    """Return when a file is begun: what is shared first, then what says that it takes long, so that none ends alone."""
    names = [*ROOMS, file]
    return names.index(room(file)) + (LONG.search((ROOT / file).read_text(encoding="utf-8")) is None)


class Rooms(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Hand out rooms, one after another, to whichever worker is free."""

    def _split_scope(self, nodeid: str) -> str:
        return room(nodeid.split("::", 1)[0])
