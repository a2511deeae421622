"""From rows of data to the inputs of a flow: the column mapping, then defaults, then columns of the same name.

A mapping says for an input `${data.column}`, `${run.inputs.column}` (the data of the run before) or
`${run.outputs.column}`; anything else is a literal for all lines. An input that is not mapped takes its default, and
only without one the column of its own name. A column that one line lacks fails that line; one that no line has is
refused before anything runs.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from flows import images
from flows.data import LINE_NUMBER, BadRow, Row, read
from flows.flow import MISSING, Flow, Input
from flows.images import Place
from flows.values import convert, converter
from workspace.errors import Invalid, did_you_mean

REFERENCE = re.compile(r"\$\{([^{}]+)\}")
LOOK = 100  # rows that are looked at for a column before all are

Rows = Mapping[str, Row | BadRow]


@dataclass(frozen=True, slots=True)
class Column:
    """Where an input comes from: the first of `places`, (source, column), that a line has."""

    input: str
    places: tuple[tuple[str, str], ...]

    def value(self, rows: Rows) -> Any:
        """Return the value in a line's rows; raises ValueError where no place is there."""
        for source, name in self.places:
            row = rows.get(source)
            if isinstance(row, dict):
                if name in row:
                    return row[name]
                if (found := _inside(row, name)) is not MISSING:
                    return found
        source, name = self.places[0]
        of = "" if source == "data" else f" in {source}"
        raise ValueError(f"input {self.input!r}: the row has no column {name!r}{of}")


def check(flow: Flow, mapping: Mapping[str, Any], sources: Collection[str] = ("data",)) -> None:
    """Raise Invalid for a mapping that names no input or no source, or that is all literals."""
    for name in mapping:
        if name not in flow.inputs and name != LINE_NUMBER:
            raise Invalid(f"the flow has no input {name!r}", hint=did_you_mean(name, flow.inputs))
    if mapping and not any(_reference(value) for value in mapping.values()):
        raise Invalid("the column mapping names no column", hint="write name='${data.column}'")
    _columns(flow, mapping, sources)


def check_columns(flow: Flow, mapping: Mapping[str, Any], data: Mapping[str, Path | Iterable[Row | BadRow]]) -> None:
    """Raise Invalid for an input whose column no row has; only then all rows are read, usually the first few."""
    missing = _columns(flow, mapping, data)
    known: dict[str, dict[str, None]] = {}
    for source in {source for column in missing for source, _ in column.places if source in data}:
        rows = data[source]
        if not isinstance(rows, Path) and iter(rows) is rows:
            return  # they can be read once only
        for number, row in enumerate(read(rows) if isinstance(rows, Path) else rows):
            if isinstance(row, BadRow):
                continue
            if number < LOOK:
                known.setdefault(source, {}).update(dict.fromkeys(row))
            missing = [column for column in missing if not _is_there(column, source, row)]
            if not any(source == place[0] for column in missing for place in column.places):
                break
    for column in missing:
        if all(source in known for source, _ in column.places):
            raise _unknown_column(column, mapping, known)


def compile_mapping(
    flow: Flow, mapping: Mapping[str, Any], *, folders: Mapping[str, Path] | None = None
) -> Callable[[Rows], dict[str, Any]]:
    """Return what makes the inputs of a line from its rows by source; it raises ValueError with the reason.

    `folders` has the sources by name, each with the folder where the paths of images in it begin. Raises Invalid where
    a literal is not of its input's type.
    """
    folders = folders if folders is not None else {"data": Path()}
    columns = {column.input: column for column in _columns(flow, mapping, folders)}
    fresh = {
        name: _settled(declared, mapping.get(name, declared.default), Place(flow.folder))
        for name, declared in flow.inputs.items()
        if name not in columns
    }
    kept = [(name, value) for name, value in fresh.items() if isinstance(value, dict | list)]
    blank = {name: fresh.get(name) for name in flow.inputs}
    plan = [_taking(flow.inputs[name], column) for name, column in columns.items()]

    def inputs_of(rows: Rows) -> dict[str, Any]:
        found = blank.copy()
        try:
            for row in rows.values():
                if type(row) is BadRow:
                    raise ValueError(str(row))
            for name, source, column, take in plan:
                value = rows[source][column]  # type: ignore[index]
                found[name] = value if take is None else take(value)
        except Exception:  # noqa: BLE001 - whatever it was, the slow way says it in words
            return _slowly(flow, columns, blank, rows, folders)
        for name, value in kept:
            found[name] = copy.deepcopy(value)  # a node may change it
        return found

    return inputs_of


def converted(flow: Flow, given: Mapping[str, Any], *, place: Place = images.NOWHERE) -> dict[str, Any]:
    """Return inputs in their declared types, defaults filled in; raises ValueError for what is missing or wrong.

    `place` is where the paths of images in what is given may lead: nowhere, unless a caller knows better.
    """
    found = {}
    for name, declared in flow.inputs.items():
        if name in given:
            found[name] = _typed(declared, given[name], place)
        elif declared.default is None:  # the code's own, which only running it would tell
            found[name] = None
        elif declared.default is not MISSING:
            found[name] = copy.deepcopy(_typed(declared, declared.default, Place(flow.folder)))
        else:
            raise ValueError(f"input {name!r} is missing")
    return found


def _slowly(
    flow: Flow, columns: Mapping[str, Column], blank: Mapping[str, Any], rows: Rows, folders: Mapping[str, Path]
) -> dict[str, Any]:
    """Make the inputs of a line that has something out of the ordinary, or say what is wrong with it."""
    for row in rows.values():
        if isinstance(row, BadRow):
            raise ValueError(str(row))
    found = {name: copy.deepcopy(value) for name, value in blank.items()}
    for name, column in columns.items():
        value = column.value(rows)
        source = column.places[0][0]
        folder = getattr(rows[source], "folder", folders.get(source))  # of several files each has its own
        found[name] = _typed(flow.inputs[name], value, Place(folder))
    return found


def _taking(declared: Input, column: Column) -> tuple[str, str, str, Callable[[Any], Any] | None]:
    """Return how an input is taken the quick way, which raises for everything out of the ordinary."""
    source, name = column.places[0]
    take = converter(declared.type)
    if images.takes(declared.type):
        take = partial(_without_images, take)
    return declared.name, source, name, take


def _without_images(take: Callable[[Any], Any] | None, value: Any) -> Any:
    value = take(value) if take else value
    if images.holds(value) or (take is None and isinstance(value, str)):
        raise ValueError("an image")
    return value


def _typed(declared: Input, value: Any, place: Place) -> Any:
    try:
        value = convert(value, declared.type)
        if declared.type == "image":
            return (
                [images.settle(each, place) for each in value] if type(value) is list else images.settle(value, place)
            )
        return images.settle_all(value, place) if images.takes(declared.type) else value
    except ValueError as error:
        raise ValueError(f"input {declared.name!r}: {error}") from None


def _settled(declared: Input, value: Any, place: Place) -> Any:
    try:
        return _typed(declared, value, place)
    except ValueError as error:
        raise Invalid(str(error), hint="the default or the column mapping says it") from None


def _columns(flow: Flow, mapping: Mapping[str, Any], sources: Collection[str]) -> list[Column]:
    """Return where the inputs that are not the same for all lines come from."""
    found = []
    for name, declared in flow.inputs.items():
        if name not in mapping:
            if declared.default is MISSING:
                if "data" not in sources:
                    source = next(iter(sources), "data")
                    hint = f"map it, such as {name}='${{{source}.column}}'"
                    raise Invalid(f"input {name!r} is not mapped and has no default", hint=hint)
                found.append(Column(name, (("data", name),)))
        elif (written := _reference(mapping[name])) is not None:
            found.append(Column(name, _places(mapping[name], written, sources)))
    return found


def _reference(value: Any) -> str | None:
    match = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return match[1] if match else None


def _places(value: str, written: str, sources: Collection[str]) -> tuple[tuple[str, str], ...]:
    """Return each way to read `run.outputs.a.b` as a source and a column, the shortest source first."""
    steps = written.split(".")
    cut = [(".".join(steps[:at]), ".".join(steps[at:])) for at in range(1, len(steps))]
    found = tuple((source, column) for source, column in cut if source in sources)
    if not found:
        hint = did_you_mean(".".join(steps[:-1]) or written, sources)
        raise Invalid(f"{value} names no source of data", hint=hint and f"{hint}; write it as ${{source.column}}")
    return found


def _inside(row: Mapping[str, Any], column: str) -> Any:
    """Return what a dotted name leads to inside of a row's objects; MISSING where that is nowhere."""
    current: Any = row
    for step in column.split("."):
        if not isinstance(current, Mapping) or step not in current:
            return MISSING
        current = current[step]
    return current


def _is_there(column: Column, source: str, row: Row) -> bool:
    return any(place == source and _inside_or_named(row, name) for place, name in column.places)


def _inside_or_named(row: Row, name: str) -> bool:
    return name in row or _inside(row, name) is not MISSING


def _unknown_column(column: Column, mapping: Mapping[str, Any], known: Mapping[str, Mapping[str, None]]) -> Invalid:
    source, name = column.places[0]
    hint = did_you_mean(name, known[source])
    if column.input in mapping:
        of = "" if source == "data" else f" of {source}"
        return Invalid(f"no row{of} has a column {name!r}, which input {column.input!r} is mapped to", hint=hint)
    said = f"input {column.input!r} has no value: it is not mapped, has no default, and no column is called so"
    return Invalid(said, hint=f"map it: {column.input}='${{data.column}}'" + (f"; {hint}" if hint else ""))
