"""Tables from files: csv, parquet and lines of JSON, and what to say where one cannot be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from workspace.errors import Invalid, Location, NotFound, did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame

ENDINGS = (".csv", ".tsv", ".csv.gz", ".parquet", ".jsonl", ".ndjson", ".jsonl.gz")


def read(path: Path, *, rejected: list[tuple[int, str]] | None = None) -> DataFrame:
    """Return the table of a file, or of all files of a folder one below the other: `read(Path("rows.csv"))`.

    A row with more fields than the heading is refused with its line; where a list is given, such rows are put there
    instead, with their line, and the rest is returned.
    """
    import pandas

    if not path.exists():
        raise NotFound(f"no file {str(path)!r}", hint="give the path of a table: csv, parquet or jsonl")
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file() and each.name.endswith(ENDINGS))
        if not files:
            raise Invalid(f"no table lies in {str(path)!r}", hint=f"tables end in {', '.join(ENDINGS)}")
        return pandas.concat([read(each, rejected=rejected) for each in files], ignore_index=True)
    if not path.stat().st_size:
        raise Invalid("the file is empty", hint="a table has a line with names of columns, and rows", at=Location(path))
    table = _rows(path, rejected)
    if not len(table):
        raise Invalid("the table has no rows", hint="only its columns are named", at=Location(path))
    return table.rename(columns=str)


def write(table: DataFrame, path: Path) -> None:
    """Write a table in the form that the ending of its path says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    elif path.name.endswith((".jsonl", ".ndjson")):
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, index=False)


def has(table: DataFrame, names: Sequence[str]) -> None:
    """Refuse names that the table has no column of."""
    columns = [str(each) for each in table.columns]
    for name in names:
        if name not in columns:
            raise Invalid(f"the table has no column {name!r}", hint=did_you_mean(name, columns))


def _rows(path: Path, rejected: list[tuple[int, str]] | None) -> DataFrame:
    import pandas

    try:
        if path.suffix == ".parquet":
            return pandas.read_parquet(path)
        if path.name.endswith((".jsonl", ".ndjson", ".jsonl.gz")):
            return _lines(path, rejected)
        return _separated(path, rejected)
    except pandas.errors.EmptyDataError:
        raise Invalid("the file holds no table", at=Location(path)) from None
    except pandas.errors.ParserError as error:
        line = re.search(r"line (\d+)", str(error))
        what = re.sub(r"^.*C error: |\.? ?Error tokenizing data\.? ?", "", str(error)).strip()
        hint = "mend the row, or put such rows aside with the component clean_rows"
        raise Invalid(
            f"a row is corrupt: {what}", hint=hint, at=Location(path, int(line[1]) if line else None)
        ) from None
    except (UnicodeDecodeError, OSError, ValueError) as error:
        raise Invalid(f"the file cannot be read as a table: {error}", at=Location(path)) from None


def _separated(path: Path, rejected: list[tuple[int, str]] | None) -> DataFrame:
    import pandas

    separator = "\t" if path.suffix == ".tsv" else ","
    if rejected is None:
        return pandas.read_csv(path, sep=separator)
    aside: list[list[str]] = []

    def put_aside(fields: list[str]) -> None:
        aside.append(fields)

    table = pandas.read_csv(path, sep=separator, engine="python", on_bad_lines=put_aside)
    rejected += [(_line_of(path, fields), separator.join(fields)) for fields in aside]
    return table


def _line_of(path: Path, fields: list[str]) -> int:
    """Return the line on which these fields stand; 0 where they stand on several."""
    with _opened(path) as file:
        found = [number for number, line in enumerate(file, 1) if all(field in line for field in fields)]
    return found[0] if found else 0


def _lines(path: Path, rejected: list[tuple[int, str]] | None) -> DataFrame:
    import json

    import pandas

    rows: list[dict[str, Any]] = []
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                row = error
            if isinstance(row, dict):
                rows.append(row)
            elif rejected is not None:
                rejected.append((number, line.rstrip("\n")))
            else:
                hint = "mend the line, or put such rows aside with the component clean_rows"
                raise Invalid(f"a row is corrupt: {row}", hint=hint, at=Location(path, number))
    return pandas.DataFrame(rows)


def _opened(path: Path) -> TextIO:
    import gzip

    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
