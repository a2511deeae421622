"""Training rows from files, folders, tables and data assets, each with what is wrong with it and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finetune.data import formats
from finetune.data.formats import Form
from finetune.data.rows import Row
from flows import data as files
from flows import row_places
from jobs.data import places, tables
from jobs.files.references import target
from workspace.errors import Invalid, Location, did_you_mean

if TYPE_CHECKING:
    from workspace.home import Workspace

_MOST_TOLD = 3  # problems in one message


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a file is read: `columns` says which of its columns is ours, {"prompt": "question"}."""

    form: Form | Literal["auto"] = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A row, and the columns that it was read from."""

    row: Row
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that cannot be trained on; rows count from 1."""

    number: int
    reason: str
    hint: str | None
    path: Path
    known: Location | None = None

    @property
    def at(self) -> Location:
        """Return where the row stands; its file is read once more for that."""
        if self.known is not None:
            return self.known
        table = tables.file_in(self.path)
        return Location(table) if table else row_places.where(self.path, self.number - 1)

    def __str__(self) -> str:
        at = self.at
        return f"{at}: {self.reason}" if at.line else f"{at}: row {self.number}: {self.reason}"


def place(workspace: Workspace, written: str) -> Path:
    """Return the file or folder that a path or the name of a data asset means: `rows.jsonl`, `data:NAME@latest`."""
    path = Path(written)
    if path.exists():
        return path
    if written.startswith("data:"):
        written = f"azureml:{written.removeprefix('data:')}"
        if ":" not in written.removeprefix("azureml:") and "@" not in written:
            written += "@latest"
    return places.find(workspace, target(written, Path.cwd()))


def found(path: Path, how: Reading = Reading()) -> Iterator[Found | Problem]:
    """Yield rows and problems as they come; raises Invalid where the data as a whole is none, or empty."""
    form: Form | None = None if how.form == "auto" else how.form
    number = 0
    for number, raw in enumerate(islice(_raw(path), how.limit), 1):
        if isinstance(raw, files.BadRow):
            yield Problem(number, raw.reason, None, path, raw.at)
            continue
        try:
            named = _named(raw, how.columns)
            form = form or formats.form_of(named)
            yield Found(formats.read(named, number, form), raw)
        except Invalid as error:
            yield Problem(number, error.message, error.hint, path)
            if form is None:
                return  # no row of it can be read
    if not number:
        raise Invalid("the data has no rows", at=Location(path), hint="a row is one line of JSON, or of a table")


def read(path: Path, how: Reading = Reading()) -> Iterator[Row]:
    """Yield the rows; raises Invalid with the places of the first that cannot be trained on."""
    for each in checked(path, how):
        yield each.row


def checked(path: Path, how: Reading = Reading()) -> Iterator[Found]:
    """Yield rows with their columns; raises Invalid with the places of the first that cannot be trained on."""
    rows = found(path, how)
    for each in rows:
        if isinstance(each, Found):
            yield each
            continue
        more = [problem for problem in rows if isinstance(problem, Problem)]
        told = "; ".join(f"also {problem}" for problem in more[: _MOST_TOLD - 1])
        if len(more) >= _MOST_TOLD:
            told += f"; and {len(more) - _MOST_TOLD + 1} more, see: studiolo finetune data {path}"
        at = each.at
        reason = each.reason if at.line else f"row {each.number}: {each.reason}"
        raise Invalid(reason, at=at, hint="; ".join(filter(None, [each.hint, told])) or None)


def form(path: Path, how: Reading = Reading()) -> str:
    """Return the form of the first row that can be read."""
    if how.form != "auto":
        return how.form
    raw = next((each for each in _raw(path) if not isinstance(each, files.BadRow)), {})
    return formats.form_of(_named(raw, how.columns))


def _raw(path: Path) -> Iterator[Mapping[str, Any] | files.BadRow]:
    if tables.file_in(path) is None:
        yield from files.read(path)
        return
    for row in tables.read(path).to_dict("records"):
        yield {str(name): value.tolist() if hasattr(value, "tolist") else value for name, value in row.items()}


def _named(raw: Mapping[str, Any], columns: Mapping[str, str]) -> Mapping[str, Any]:
    if not columns:
        return raw
    for theirs in columns.values():
        if theirs not in raw:
            raise Invalid(f"there is no column {theirs!r}", hint=did_you_mean(theirs, map(str, raw)))
    taken = {theirs for ours, theirs in columns.items() if ours != theirs}
    rest = {name: value for name, value in raw.items() if name not in taken}
    return {**rest, **{ours: raw[theirs] for ours, theirs in columns.items()}}
