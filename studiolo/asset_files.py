"""The files that an asset is made of, by name, and how each of them begins."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from flows import data
from studiolo.run_files import Artifact
from workspace.assets import parse
from workspace.errors import Invalid, NotFound, did_you_mean
from workspace.home import Workspace
from workspace.paths import safe_join

MOST = 1_000  # files that a list names
ROWS = 100  # rows or lines that a beginning has
BYTES = 100_000  # bytes of text that are looked at for it


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a file begins: in `rows` where it is a table, else in `text`; neither where people cannot read it."""

    rows: list[dict[str, Any]]
    text: str
    whole: bool  # whether the file ends here


def asset_files(workspace: Workspace, ref: str) -> list[Artifact]:
    """Return the files of a data asset by name, the first thousand: `asset_files(workspace, "data:rows:1")`."""
    place = workspace.assets.path(workspace.assets.get("data", ref))
    if place.is_file():
        return [Artifact(place.name, place.stat().st_size)]
    paths = sorted(path for path in place.rglob("*") if path.is_file())[:MOST]
    return [Artifact(path.relative_to(place).as_posix(), path.stat().st_size) for path in paths]


def asset_file(workspace: Workspace, ref: str, name: str) -> Path:
    """Return where one file of a data asset lies; only for reading."""
    place = workspace.assets.path(workspace.assets.get("data", ref))
    path = safe_join(place, name) if place.is_dir() else place
    if not path.is_file() or (place.is_file() and name != place.name):
        known = (each.name for each in asset_files(workspace, ref))
        raise NotFound(f"{parse('data', ref).name!r} has no file {name!r}", hint=did_you_mean(name, known))
    return path


def beginning(path: Path) -> Beginning:
    """Return how a file begins. A CSV whose lines are not alike is text; columns without names are numbered.

    What a batch deployment writes has no header, so the first line of a CSV is a row as any other.
    """
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".jsonl") or (suffix == ".json" and path.stat().st_size <= BYTES):
        return _records(path) or _text(path)
    if suffix in (".csv", ".tsv"):
        return _table(path, delimiter="\t" if suffix == ".tsv" else ",") or _text(path)
    return _text(path)


def _records(path: Path) -> Beginning | None:
    try:
        found = list(islice(data.read(path), ROWS + 1))
    except Invalid:
        return None  # as a whole it is no data: it may be text all the same
    rows = [row for row in found if not isinstance(row, data.BadRow)]
    if not found or len(rows) < len(found):
        return None
    return Beginning(rows[:ROWS], "", whole=len(rows) <= ROWS)


def _table(path: Path, *, delimiter: str) -> Beginning | None:
    text, whole = _read(path)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    widths = {len(row) for row in rows}
    if len(widths) != 1 or widths == {1}:
        return None
    return Beginning([_numbered(row) for row in rows[:ROWS]], "", whole=whole and len(rows) <= ROWS)


def _numbered(row: Iterable[str]) -> dict[str, str]:
    return {str(number): cell for number, cell in enumerate(row, 1)}


def _text(path: Path) -> Beginning:
    text, whole = _read(path)
    if "\0" in text:
        return Beginning([], "", whole=False)
    lines = text.splitlines()
    return Beginning([], "\n".join(lines[:ROWS]), whole=whole and len(lines) <= ROWS)


def _read(path: Path) -> tuple[str, bool]:
    """The beginning of a file in whole lines, and whether it is all of it."""
    with path.open("rb") as file:
        raw = file.read(BYTES)
        whole = not file.read(1)
    cut = raw if whole else raw[: raw.rfind(b"\n") + 1] or raw
    return cut.decode("utf-8", "replace"), whole
