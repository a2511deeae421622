"""Rows of a data file, one after the other: JSON lines, a JSON list, CSV or TSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workspace.errors import Invalid, Location, NotFound


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file in order; CSV values are texts. Raises Invalid with the line that cannot be read."""
    if not path.is_file():
        raise NotFound(f"no data file {str(path)!r}", hint="check the path")
    if path.suffix == ".json":
        yield from _json_list(path)
    elif path.suffix in (".csv", ".tsv"):
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield from csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
    else:
        yield from _json_lines(path)


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise Invalid(f"not JSON: {error}", at=Location(path, number)) from None
            yield _mapping(row, path, number)


def _json_list(path: Path) -> Iterator[dict[str, Any]]:
    try:
        listed = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise Invalid(f"not JSON: {error}", at=Location(path)) from None
    if not isinstance(listed, list):
        raise Invalid("expected a list of rows", at=Location(path))
    for number, row in enumerate(listed, 1):
        yield _mapping(row, path, number)


def _mapping(row: Any, path: Path, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise Invalid(f"row {number} is no JSON object", at=Location(path, number))
    return row


def count(path: Path) -> int | None:
    """Return how many rows a file of JSON lines holds, without reading them; None where that is not cheap."""
    if path.suffix != ".jsonl":
        return None
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())
