"""What is no part of a flow's folder: what its .amlignore leaves out, else its .gitignore, and what tools leave behind.

Patterns mean what git says of them: `*.log` anywhere, `/data` here only, `cache/` a folder, `a/**/b`, `!kept.log`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

FILES = (".amlignore", ".gitignore")  # the first that is there counts
LEFT_BEHIND = frozenset({".promptflow", ".runs", ".studiolo", ".venv", "venv", "node_modules"})


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of such a file: the steps of the paths it means."""

    steps: tuple[str, ...]
    brings_back: bool
    only_folders: bool

    def means(self, path: tuple[str, ...]) -> bool:
        """Whether the steps of a path, relative to the folder, are meant."""
        places = self._over_stars({0})
        for part in path:
            reached = {place for place in places if place < len(self.steps) and self.steps[place] == "**"}
            for place in places - reached:
                if place < len(self.steps) and fnmatchcase(part, self.steps[place]):
                    reached.add(place + 1)
            places = self._over_stars(reached)
        return len(self.steps) in places

    def _over_stars(self, places: set[int]) -> set[int]:
        """Two stars may also stand for no step at all."""
        found = set(places)
        for place in sorted(places):
            while place < len(self.steps) and self.steps[place] == "**":
                place += 1
                found.add(place)
        return found


def patterns(text: str) -> list[Pattern]:
    """Return the patterns of such a file, in their order."""
    found = []
    for line in text.splitlines():
        line = line.rstrip()
        if not line or line.startswith("#"):
            continue
        brings_back = line.startswith("!")
        line = line.removeprefix("!").removeprefix("\\")
        steps = tuple(step for step in line.split("/") if step)
        if not steps:
            continue
        is_here = "/" in line.rstrip("/")
        found.append(Pattern(steps if is_here else ("**", *steps), brings_back, line.endswith("/")))
    return found


def under(folder: Path) -> set[Path]:
    """Return what is left out of a folder: of a folder that is left out, that folder alone."""
    file = next((folder / name for name in FILES if (folder / name).is_file()), None)
    known = patterns(file.read_text(encoding="utf-8", errors="replace")) if file else []
    found: set[Path] = set()
    for place, folders, names in os.walk(folder):
        here = Path(place).relative_to(folder).parts
        left = {name for name in folders if name in LEFT_BEHIND or _is_left_out(known, (*here, name), True)}
        folders[:] = [name for name in folders if name not in left]
        left |= {name for name in names if _is_left_out(known, (*here, name), False)}
        found |= {Path(place, name) for name in left}
    return found


def _is_left_out(known: list[Pattern], path: tuple[str, ...], is_folder: bool) -> bool:
    for pattern in reversed(known):  # the last one that means it counts
        if (is_folder or not pattern.only_folders) and pattern.means(path):
            return not pattern.brings_back
    return False
