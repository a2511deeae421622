"""The rows of a task: read from where its data lies, mapped, and known again by content."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from evals.samples import as_text, row_id, whole
from evals.tasks.task import ROLES, Task
from workspace.errors import Invalid, NotFound, did_you_mean

if TYPE_CHECKING:
    from workspace import Asset, Workspace

_REFERENCE = re.compile(r"\$\{data\.([^{}]+)\}")
_ASSET = "data:"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row as the task sees it: what is asked, what is right, what it is called, and all else it says."""

    number: int
    id: str
    inputs: Mapping[str, Any]
    expected: str | None = None
    name: str | None = None
    cluster: str | None = None
    answer: str | None = None
    choices: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def column(self, name: str) -> Any:
        """Return what the row says in a column, wherever that went."""
        return self.metadata.get(name, self.inputs.get(name))


@dataclass(frozen=True, slots=True)
class Data:
    """The rows of a run, the asset they are kept as, and the digest that tells whether they are still the same."""

    rows: tuple[Row, ...]
    digest: str
    asset: Asset | None = None


def load(workspace: Workspace, task: Task, *, limit: int | None = None) -> Data:
    """Read and map the rows of a task, at most `limit`. Data of a file is kept as an asset of the workspace.

    Raises Invalid for rows that cannot be read, and for an id that two rows have.
    """
    given, asset = _given(workspace, task.data, task.folder)
    mapped = tuple(_row(number, row, task) for number, row in enumerate(given))
    if not mapped:
        raise Invalid(f"task {task.name!r} has no rows", hint="check `data:`")
    _refuse_twins(mapped)
    if not any(row.expected for row in mapped) and (missing := task.mapping.get("expected")):
        raise NotFound(f"no row has {missing!r}", hint=did_you_mean(str(missing), given[0]))
    for name in task.slices:
        if all(row.column(name) is None for row in mapped):
            raise NotFound(f"no row has the column {name!r} to slice by", hint=did_you_mean(name, given[0]))
    rows = mapped[:limit]
    digest = hashlib.sha256("".join(row.id for row in rows).encode()).hexdigest()
    return Data(rows, digest, asset)


def examples(workspace: Workspace, task: Task) -> list[Row]:
    """Return all rows that examples are taken from, in the order in which they are taken."""
    if task.few_shot is None:
        return []
    given, _ = _given(workspace, task.few_shot.data, task.folder)
    rows = [_row(number, row, task) for number, row in enumerate(given)]
    if task.few_shot.seed is not None:
        random.Random(task.few_shot.seed).shuffle(rows)  # noqa: S311 - a choice of examples, no secret
    return rows


def chosen(task: Task, pool: Sequence[Row], row: Row) -> list[Row]:
    """Return the examples for a row: never itself, and of its kind only where the task says by what."""
    if task.few_shot is None:
        return []
    by = task.few_shot.by
    fit = (each for each in pool if each.id != row.id and (by is None or each.column(by) == row.column(by)))
    return [each for each, _ in zip(fit, range(task.few_shot.count), strict=False)]


def _given(workspace: Workspace, data: Any, folder: Path) -> tuple[list[Mapping[str, Any]], Asset | None]:
    if not isinstance(data, str):
        return [dict(row) for row in data], None
    from flows import data as files

    if data.startswith(_ASSET):
        asset = workspace.assets.get("data", data.removeprefix(_ASSET))
        return [*files.rows(workspace.assets.path(asset))], asset
    from jobs.data import places
    from jobs.files.references import target

    path = places.find(workspace, target(data, folder), folder=folder)
    rows: list[Mapping[str, Any]] = [*files.rows(path)]
    name = re.sub(r"[^\w.-]+", "-", path.stem, flags=re.ASCII).strip("-.") or "rows"
    told = {"filename": path.name} | (_origin(data, path) if data.startswith("hf://") else {})
    return rows, workspace.assets.put("data", name, path, properties=told)


def _origin(data: str, path: Path) -> dict[str, str]:
    """Return where on the Hub a file is from, and of which commit: whatever was asked for, this is what was read."""
    folders = [each.name for each in path.parents]
    found = [name for name, above in pairwise(folders) if above == "snapshots"]
    return {"source": data, "commit": found[0]} if found else {"source": data}


def _readable(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row as it is, or with U+FFFD where a text has half a surrogate pair, which nobody can be asked."""
    try:
        orjson.dumps(given, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # that, and whole numbers beyond 64 bits
        return dict(whole(given))
    return given


def _row(number: int, given: Mapping[str, Any], task: Task) -> Row:
    given = _readable(given)
    used: set[str] = set()
    roles: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    for name, source in task.mapping.items():
        gone = set[str]() if name == "cluster" else used  # what rows are grouped by is said of them all the same
        (roles if name in ROLES else inputs)[name] = _value(given, source, gone)
    for role, column in (("expected", "expected"), ("id", "id"), ("choices", "choices")):
        if role not in roles and given.get(column) is not None:
            roles[role] = given[column]
            used.add(column)
    if not inputs:
        inputs = {name: value for name, value in given.items() if name not in used}
        used.update(inputs)
    own, cluster = roles.get("id"), roles.get("cluster")
    choices = _choices(roles.get("choices"), number)
    return Row(
        number=number,
        id=row_id(given),
        inputs=inputs,
        expected=_expected(roles.get("expected"), choices, task),
        name=str(own) if own is not None and str(own).strip() else None,
        cluster=None if cluster is None else as_text(cluster),
        answer=None if roles.get("answer") is None else as_text(roles["answer"]),
        choices=choices,
        metadata={key: value for key, value in given.items() if key not in used or key in task.slices}
        | ({"choices": list(choices)} if choices else {}),
    )


def _value(given: Mapping[str, Any], source: Any, used: set[str]) -> Any:
    if not isinstance(source, str):
        return source
    if (found := _REFERENCE.fullmatch(source)) is None:
        return _REFERENCE.sub(lambda each: as_text(_column(given, each[1], used)), source)
    return _column(given, found[1], used)


def _column(given: Mapping[str, Any], name: str, used: set[str]) -> Any:
    used.add(name)
    if name in given:
        return given[name]
    value: Any = given
    for step in name.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value


def _choices(given: Any, number: int) -> tuple[str, ...]:
    if given is None:
        return ()
    if not isinstance(given, list | tuple) or not 2 <= len(given) <= len(LETTERS):
        raise Invalid(f"row {number + 1}: choices are a list of 2 to {len(LETTERS)}, not {str(given)[:60]!r}")
    return tuple(as_text(each) for each in given)


def _expected(given: Any, choices: Sequence[str], task: Task) -> str | None:
    """Return the right answer as text; of a choice its letter, whether it is given by letter, place or text."""
    if given is None:
        return None
    if not choices or task.choosing is None:
        return as_text(given)
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < len(choices):
        return LETTERS[given]
    text = as_text(given).strip()
    if len(text) == 1 and text.upper() in LETTERS[: len(choices)] and text not in choices:
        return text.upper()
    return LETTERS[choices.index(text)] if text in choices else text


def _refuse_twins(rows: Iterable[Row]) -> None:
    seen: dict[str, int] = {}
    for row in rows:
        if row.name is not None and (first := seen.setdefault(row.name, row.number)) != row.number:
            raise Invalid(
                f"rows {first + 1} and {row.number + 1} have the id {row.name!r}", hint="ids name one row each"
            )
