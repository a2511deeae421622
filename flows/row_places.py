"""Where a row stands in its file: looked for only where somebody must be told."""

from __future__ import annotations

import codecs
import csv
from itertools import islice
from pathlib import Path

from flows import data
from workspace.errors import Location


def where(path: Path, position: int) -> Location:
    """Return where a row is written, by its position among all of them: its line, or the file of what has no lines."""
    if path.is_dir():
        for each in data.files_in(path):
            held = data.count(each)
            held = sum(1 for _ in data.read(each)) if held is None else held
            if position < held:
                return where(each, position)
            position -= held
        return Location(path)
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return Location(path, _line_of_cells(path, position))
    if suffix in (".json", ".parquet"):
        return Location(path)
    with path.open("rb") as file:
        rows = (line for line, raw in enumerate(file, 1) if raw.removeprefix(codecs.BOM_UTF8).strip())
        return Location(path, next(islice(rows, position, None), None))


def _line_of_cells(path: Path, position: int) -> int | None:
    csv.field_size_limit(data.LONGEST_CELL)
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        try:
            next(reader, None)
            line = reader.line_num + 1
            for cells in reader:
                if cells and position == 0:
                    return line
                position -= bool(cells)
                line = reader.line_num + 1
        except csv.Error:
            return None  # what cannot be read before it has told its own place
    return None
