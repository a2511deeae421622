"""Rows of data, one after the other: JSON lines, JSON, CSV, TSV, Parquet, or a folder of such files.

A row that cannot be read is a `BadRow`: its line fails and says where it is written, the others go on. Values are what
the file says: null is None, whole numbers are whole at any size, dates are text, and CSV and TSV hold nothing but text.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flows import parquet
from flows.images import sniff
from workspace.errors import Invalid, Location, NotFound

LINE_NUMBER = "line_number"
KNOWN = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
LONGEST_CELL = 2**31 - 1  # characters; the csv module's own limit would refuse an image

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read: `number` is its line's, `at` where it is written, if that is known."""

    number: int
    reason: str
    at: Location | None = None

    def __str__(self) -> str:
        return f"{self.at}: {self.reason}" if self.at else self.reason


class FolderRow(dict[str, Any]):
    """A row of one of several files: `folder` is where the paths in it begin."""

    folder: Path


def read(path: Path) -> Iterator[Row | BadRow]:
    """Yield the rows of a file, or of all files in a folder by name; a `BadRow` counts them from 0.

    An unknown suffix is read as JSON lines. Memory does not grow with the file, but for `.json`. Raises NotFound where
    there is nothing, Invalid where a file as a whole is no data.
    """
    if path.is_dir():
        yield from _folder(path)
    elif path.is_file():
        yield from _READERS.get(path.suffix.lower(), _unknown)(path)
    else:
        raise NotFound(f"no data file {str(path)!r}", hint="check the path")


def rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file in order; raises Invalid with the place of the first that cannot be read."""
    for row in read(path):
        if isinstance(row, BadRow):
            raise Invalid(row.reason, at=row.at)
        yield row


def count(path: Path) -> int | None:
    """Return how many rows there are, where that is known without reading them; else None."""
    if path.is_dir():
        counts = [count(file) for file in files_in(path)]
        return None if None in counts else sum(filter(None, counts))
    if path.suffix.lower() == ".parquet":
        return parquet.count(path)
    if not path.is_file() or path.suffix.lower() not in (".jsonl", ".csv", ".tsv"):
        return None
    found = 0
    has_cells = path.suffix.lower() != ".jsonl"
    with path.open("rb") as file:
        for line in file:
            if has_cells and b'"' in line:
                return None  # a cell may hold line breaks
            found += not line.isspace()
    return max(0, found - has_cells)


def numbered(rows: Iterable[Row | BadRow]) -> Iterator[tuple[int, Row | BadRow]]:
    """Yield rows with their line's number: what `line_number` in them says, else their position.

    The first row decides which of both. One that does not fit (a number taken or no number, and where rows say their
    numbers those that cannot be read) comes last, as a BadRow numbered after all others.
    """
    early: list[tuple[int, BadRow]] = []
    source = iter(enumerate(rows))
    for position, row in source:
        if isinstance(row, BadRow):
            early.append((position, row))
            continue
        if LINE_NUMBER in row:
            yield from _said(position, row, source, early)
        else:
            yield from early
            yield position, row
            yield from source
        return
    yield from early


def join(sources: Mapping[str, Path | Iterable[Row | BadRow]]) -> Iterator[tuple[int, dict[str, Row | BadRow]]]:
    """Yield lines with a row of every source: those of one `line_number`, or of one position where rows say none.

    Lines that lack a source are left out. Raises Invalid for a source without rows, for sources that go by position and
    are not equally long, and where no line is in all of them.
    """
    opened = {name: _opened(source) for name, source in sources.items()}
    _check_lengths(sources)
    tracks = {name: _Track(name, numbered(rows)) for name, rows in opened.items()}
    met: dict[int, dict[str, Row | BadRow]] = {}
    complete = 0
    while running := [track for track in tracks.values() if not track.over]:
        # The one that is furthest behind: sources in order meet at once, and few lines wait.
        track = min(running, key=lambda each: each.last)
        if not track.step():
            continue
        line = met.setdefault(track.last, {})
        line[track.name] = track.row
        if len(line) == len(tracks):
            del met[track.last]
            complete += 1
            yield track.last, {name: line[name] for name in tracks}
    if not complete:
        raise Invalid("no line is in all of the data", hint=f"{LINE_NUMBER!r} must agree in {', '.join(sources)}")


class _Track:
    """One source of a join: where it is."""

    __slots__ = ("_rows", "last", "name", "over", "row")

    def __init__(self, name: str, rows: Iterator[tuple[int, Row | BadRow]]) -> None:
        self.name, self._rows = name, rows
        self.last = -1
        self.over = False
        self.row: Row | BadRow = {}

    def step(self) -> bool:
        found = next(self._rows, None)
        if found is None:
            if self.last < 0:
                raise Invalid(f"{self.name} has no rows", hint="a line needs a row of every source")
            self.over = True
            return False
        self.last, self.row = found
        return True


def _opened(source: Path | Iterable[Row | BadRow]) -> Iterable[Row | BadRow]:
    return read(source) if isinstance(source, Path) else source


def _check_lengths(sources: Mapping[str, Path | Iterable[Row | BadRow]]) -> None:
    """Files that go by position must be equally long, which is known before anything is run."""
    lengths: dict[str, int] = {}
    for name, source in sources.items():
        again = isinstance(source, Path) or iter(source) is not source
        if not again or len(sources) < 2:
            continue
        first = next((row for row in _opened(source) if not isinstance(row, BadRow)), None)
        if first is not None and LINE_NUMBER not in first:
            known = count(source) if isinstance(source, Path) else None
            lengths[name] = sum(1 for _ in _opened(source)) if known is None else known
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        hint = f"give as many rows, or {LINE_NUMBER!r} in each"
        raise Invalid(f"the data cannot be joined by position: {said} rows", hint=hint)


def _said(
    position: int, row: Row | BadRow, source: Iterator[tuple[int, Row | BadRow]], early: list[tuple[int, BadRow]]
) -> Iterator[tuple[int, Row | BadRow]]:
    """Yield rows by the numbers they say."""
    low, above, highest = 0, set[int](), -1  # all numbers below `low` are taken, and those in `above`
    late = [bad for _, bad in early]
    while True:
        number = row if isinstance(row, BadRow) else _number(row, position)
        if isinstance(number, int) and (number < low or number in above):
            number = _misfit(position, f"{LINE_NUMBER} {number} is here twice")
        if isinstance(number, BadRow):
            late.append(number)
        else:
            above.add(number)
            while low in above:
                above.remove(low)
                low += 1
            highest = max(highest, number)
            yield number, row
        following = next(source, None)
        if following is None:
            break
        position, row = following
    for bad in late:
        highest += 1
        yield highest, replace(bad, number=highest)


def _number(row: Row, position: int) -> int | BadRow:
    given = row.get(LINE_NUMBER)
    if type(given) is int and given >= 0:
        return given
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) < 19:
        return int(given)
    if LINE_NUMBER not in row:
        return _misfit(position, f"no {LINE_NUMBER}, which the rows before have")
    return _misfit(position, f"{LINE_NUMBER} {str(given)[:40]!r} is no line's number")


def _misfit(position: int, reason: str) -> BadRow:
    return BadRow(position, f"row {position + 1}: {reason}")


# Formats


def _folder(folder: Path) -> Iterator[Row | BadRow]:
    files = files_in(folder)
    if not files:
        raise NotFound(f"no data files in {str(folder)!r}", hint=f"known are {', '.join(KNOWN)}")
    position = 0
    for file in files:
        for row in read(file):
            if isinstance(row, BadRow):
                yield replace(row, number=position)
            else:
                placed = FolderRow(row)
                placed.folder = file.parent
                yield placed
            position += 1


def files_in(folder: Path) -> list[Path]:
    """Return the data files in a folder by name; hidden files and pictures are none."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if not _is_hidden(path, folder) and not _is_picture(path)]


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _is_picture(path: Path) -> bool:
    if path.suffix.lower() in KNOWN:
        return False
    with path.open("rb") as file:
        return sniff(file.read(64)) is not None


def _json_lines(path: Path) -> Iterator[Row | BadRow]:
    read_one = json.JSONDecoder().raw_decode
    position = 0
    with path.open("rb") as file:
        for line, raw in enumerate(file, 1):
            raw = raw.strip() if line > 1 else raw.removeprefix(codecs.BOM_UTF8).strip()
            if not raw:
                continue
            try:
                text = raw.decode()
                row, end = read_one(text)
                if end == len(text) and type(row) is dict:
                    yield row
                else:
                    what = f"more after the row: {text[end : end + 20]!r}" if end != len(text) else _no_object(row)
                    yield BadRow(position, what, Location(path, line))
            except (ValueError, RecursionError) as error:
                yield BadRow(position, _no_json(error), Location(path, line))
            position += 1


def _unknown(path: Path) -> Iterator[Row | BadRow]:
    found = _json_lines(path)
    first = next(found, None)
    if isinstance(first, BadRow):
        raise Invalid(f"{path.name!r} is no data file, nor JSON lines", hint=f"known are {', '.join(KNOWN)}")
    if first is not None:
        yield first
    yield from found


def _json(path: Path) -> Iterator[Row | BadRow]:
    """Yield the rows of a list, or of columns: {"question": ["a", "b"]}."""
    try:
        whole = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            yield from _json_lines(path)  # not the first to name it so
            return
        raise Invalid(_no_json(error), at=Location(path, getattr(error, "lineno", None))) from None
    if isinstance(whole, dict) and whole and all(isinstance(column, list) for column in whole.values()):
        if len({len(column) for column in whole.values()}) > 1:
            raise Invalid("the columns are not equally long", at=Location(path))
        whole = [dict(zip(whole, cells, strict=True)) for cells in zip(*whole.values(), strict=True)]
    if not isinstance(whole, list):
        raise Invalid("expected a list of rows", at=Location(path))
    for position, row in enumerate(whole):
        yield row if type(row) is dict else BadRow(position, f"row {position + 1}: {_no_object(row)}", Location(path))


def _cells(path: Path) -> Iterator[Row | BadRow]:
    """Yield the rows of a CSV or TSV file; cells that a short row lacks are missing in it."""
    csv.field_size_limit(LONGEST_CELL)
    position, line = 0, 1
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        try:
            names = _names(next(reader, []))
        except csv.Error as error:
            raise Invalid(f"no header: {error}", at=Location(path, 1)) from None
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield BadRow(position, str(error), Location(path, line))
                position += 1
                continue
            if not cells:
                continue
            if len(cells) > len(names):
                reason = f"{len(cells)} cells, but the header has {len(names)}"
                yield BadRow(position, reason, Location(path, line))
            elif not _is_utf8(cells):
                yield BadRow(position, "not UTF-8", Location(path, line))
            else:
                yield dict(zip(names, cells, strict=False))
            position += 1


def _names(header: list[str]) -> list[str]:
    """Return the columns; one without a name, and a name used before, get one that pandas would give."""
    names: list[str] = []
    for index, cell in enumerate(header):
        name = first = cell or f"Unnamed: {index}"
        again = 0
        while name in names:
            again += 1
            name = f"{first}.{again}"
        names.append(name)
    return names


def _is_utf8(cells: list[str]) -> bool:
    text = "".join(cells)
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_object(value: object) -> str:
    kind = {list: "a list", str: "a text", bool: "a truth value", type(None): "null"}.get(type(value), "a number")
    return f"a row must be a JSON object, not {kind}"


def _no_json(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} (column {error.colno})"
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    return "nested too deep" if isinstance(error, RecursionError) else f"not JSON: {error}"


_READERS: dict[str, Callable[[Path], Iterator[Row | BadRow]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _cells,
    ".tsv": _cells,
    ".parquet": parquet.read,
}
