"""The formats of answers, as people know them from `az`: json, jsonc, yaml, table, tsv or none, after a query."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any, Literal

from studiolo.commands.show import print_json, print_table
from studiolo.plain import plain
from workspace.errors import Invalid, StudioloError

Format = Literal["json", "jsonc", "yaml", "table", "tsv", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command has found. People see `words`, or a table of the `columns`; programs get the value.

    `next` is the command that follows most often; `failure` is raised when the answer has been printed.
    """

    value: Any
    columns: Sequence[str] = ()
    words: str | None = None
    next: str = ""
    failure: StudioloError | None = None


def print_answer(answer: Answer, format_: Format | None, query: str | None) -> None:
    """Print an answer in a format, or for people where none is asked for; `query` takes a part of it.

    Nothing found is printed as nothing, as `az` does.
    """
    value = plain(answer.value)
    if query:
        value = select(value, query)
        format_ = format_ or "json"
    if format_ is None:
        _print_for_people(value, answer)
    elif format_ != "none" and value is not None:
        _PRINTED[format_](value, answer if not query else None)
    sys.stdout.flush()
    if answer.next:
        print(f"next: {answer.next}", file=sys.stderr)
    if answer.failure is not None:
        raise answer.failure


def select(value: Any, query: str) -> Any:
    """Return what a JMESPath query takes: `select([{"name": "a"}], "[0].name") == "a"`."""
    import jmespath  # late: few ask
    from jmespath.exceptions import JMESPathError

    try:
        return jmespath.search(query, value, jmespath.Options(_Chosen))
    except JMESPathError as error:
        hint = "for example --query name, or --query \"[?status=='Failed'].name\""
        raise Invalid(f"--query {query!r} cannot be read: {str(error).splitlines()[0]}", hint=hint) from None


class _Chosen(dict[str, Any]):
    """A mapping whose order a query has chosen."""


def _print_for_people(value: Any, answer: Answer) -> None:
    if answer.words is not None:
        print(answer.words, end="\n" if answer.words else "")
    elif isinstance(value, list) and not answer.columns:
        _print_rows(value, None)
    elif isinstance(value, list):
        print_table(answer.columns, ([cell(row.get(column)) for column in answer.columns] for row in value))
    else:
        print_table(("", ""), [(key, cell(each)) for key, each in value.items() if each not in (None, "", {}, [])])


def _print_colours(value: Any, _: Answer | None) -> None:
    if not sys.stdout.isatty():
        print_json(value)
        return
    from rich.console import Console

    Console().print_json(data=value, indent=2, ensure_ascii=False)


def as_yaml(value: Any) -> str:
    """Return plain values as YAML."""
    from ruamel.yaml import YAML

    yaml, text = YAML(), StringIO()
    yaml.default_flow_style = False
    yaml.width = 1_000_000  # lines are not folded
    yaml.dump(value, text)
    return text.getvalue()


def _print_rows(value: Any, answer: Answer | None) -> None:
    """Print a table: of the columns that people see, or of all simple values that a query has left."""
    if answer is not None:
        _print_for_people(value, Answer(value=value, columns=answer.columns))
        return
    rows = [
        row if isinstance(row, dict) else {"Result": row} for row in (value if isinstance(value, list) else [value])
    ]
    simple = dict.fromkeys(key for row in rows for key, each in row.items() if not isinstance(each, dict | list))
    print_table([key[:1].upper() + key[1:] for key in simple], ([cell(row.get(key)) for key in simple] for row in rows))


def _print_tabs(value: Any, answer: Answer | None) -> None:
    """Print lines of values with tabs between them: the columns that people see, or as `az` what a query has left.

    `az` leaves out what is nested, and tells the length of a list.
    """
    if answer is not None:
        rows = value if isinstance(value, list) else [value]
        for row in rows:
            columns = answer.columns or list(row)
            print("\t".join(cell(row.get(column)) for column in columns))
        return
    for row in value if isinstance(value, list) else [value]:
        if isinstance(row, dict):
            row = row.values() if isinstance(row, _Chosen) else [row[key] for key in sorted(row)]
        elif not isinstance(row, list):
            row = [row]
        print("\t".join(_field(each) for each in row))


def _field(value: Any) -> str:
    if isinstance(value, dict):
        return ""
    if isinstance(value, list):
        return str(len(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def cell(value: Any) -> str:
    """Return a value as a cell of a table: `cell({"blue": 90}) == "blue=90"`."""
    if isinstance(value, Mapping):
        return " ".join(f"{key}={cell(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(cell(each) for each in value)
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


_PRINTED = {
    "json": lambda value, _: print_json(value),
    "jsonc": _print_colours,
    "yaml": lambda value, _: print(as_yaml(value), end=""),
    "table": _print_rows,
    "tsv": _print_tabs,
}
