"""Options that prompt flow's commands share, and the shapes in which they print."""

from __future__ import annotations

import argparse
import json
import shutil
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from flows.run_file import read_variables
from studiolo.arguments import pairs
from workspace.errors import Invalid, NotFound

ENV = ".env"
_LEAST = 3  # characters of a column


def command(commands: Any, name: str, help_text: str, handler: Callable[[argparse.Namespace], int | None]) -> Any:
    """Add a command with the options that every one of them takes."""
    parser = commands.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)
    parser.add_argument("--verbose", action="store_true", help="say more")
    parser.add_argument("-d", "--debug", action="store_true", help="say more")
    parser.set_defaults(handler=handler, parser=parser)
    return parser


def several(parser: Any, option: str, help_text: str, *, dest: str | None = None, none: bool = False) -> None:
    """Add an option with several values in a row; it may be given again for more."""
    kept = dest or option.lstrip("-").replace("-", "_")
    parser.add_argument(option, dest=kept, nargs="*" if none else "+", action="extend", metavar="NAME=VALUE",
                        help=help_text)  # fmt: skip


def variables(given: list[str] | None) -> dict[str, str]:
    """Return variables from NAME=value texts and .env files; the option alone means the .env file nearest above."""
    if given is None:
        return {}
    if not given:
        here = Path.cwd()
        near = next((folder / ENV for folder in (here, *here.parents) if (folder / ENV).is_file()), None)
        if near is None:
            raise NotFound("no .env file here or above", hint="give NAME=value")
        return read_variables(near)
    found: dict[str, str] = {}
    for text in given:
        found |= pairs([text], example="NAME=value") if "=" in text else read_variables(Path(text))
    return found


def values(given: list[str] | None) -> dict[str, Any]:
    """Return name=value texts with values read as JSON where they are; a .json file stands for all it holds."""
    found: dict[str, Any] = {}
    for text in given or []:
        if "=" not in text and text.endswith(".json"):
            found |= _object(Path(text))
            continue
        for name, value in pairs([text], example="name=value").items():
            try:
                found[name] = json.loads(value)
            except ValueError:
                found[name] = value
    return found


def inputs(given: list[str] | None) -> dict[str, Any]:
    """Return inputs from name=value texts, and from JSON files (of .jsonl the first line)."""
    found: dict[str, Any] = {}
    for text in given or []:
        if "=" not in text and text.endswith((".json", ".jsonl")):
            found |= _object(Path(text))
        else:
            found |= pairs([text], example="question='How far is it?'")
    return found


def print_json(value: Any) -> None:
    """Print as prompt flow's commands do: four spaces deep."""
    print(json.dumps(value, indent=4, ensure_ascii=False, default=str))


def print_grid(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table with a line between any two rows, numbered from 0, in the width of the terminal."""
    body = [[str(number), *map(_text, row)] for number, row in enumerate(rows)]
    if not body:
        return
    heads = ["", *columns]
    is_number = [all(isinstance(value, int | float) for value in column) for column in zip(*_raw(body), strict=True)]
    widths = _widths([heads, *body], shutil.get_terminal_size((120, 24)).columns)
    rule = "+".join(["", *("-" * (width + 2) for width in widths), ""])
    print(rule)
    print(_row(heads, widths, is_number))
    print(rule.replace("-", "="))
    for row in body:
        print(_row(row, widths, is_number))
        print(rule)


def _object(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
        found = json.loads(text.splitlines()[0] if path.suffix == ".jsonl" else text)
    except (OSError, ValueError, IndexError) as error:
        raise Invalid(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise Invalid(f"{path} holds no JSON object")
    return found


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _raw(body: list[list[str]]) -> list[list[Any]]:
    def number(text: str) -> Any:
        try:
            return float(text)
        except ValueError:
            return text

    return [[number(text) for text in row] for row in body]


def _widths(rows: list[list[str]], terminal: int) -> list[int]:
    """Return the width of each column: what it needs, or its share of what there is."""
    needs = [max(_wide(line) for row in rows for line in row[index].split("\n")) for index in range(len(rows[0]))]
    room = max(terminal - 3 * len(needs) - 1, _LEAST * len(needs))
    widths = [0] * len(needs)
    waiting = sorted(range(len(needs)), key=lambda index: needs[index])
    for place, index in enumerate(waiting):
        share = room // (len(waiting) - place)
        widths[index] = max(min(_LEAST, needs[index]), min(needs[index], share))
        room -= widths[index]
    return [max(width, 1) for width in widths]


def _row(cells: list[str], widths: list[int], is_number: list[bool]) -> str:
    wrapped = [_wrap(cell, width) for cell, width in zip(cells, widths, strict=True)]
    height = max(len(lines) for lines in wrapped)
    printed = []
    for number in range(height):
        parts = []
        for lines, width, right in zip(wrapped, widths, is_number, strict=True):
            text = lines[number] if number < len(lines) else ""
            space = " " * (width - _wide(text))
            parts.append(f" {space}{text} " if right else f" {text}{space} ")
        printed.append(f"|{'|'.join(parts)}|")
    return "\n".join(printed)


def _wrap(text: str, width: int) -> list[str]:
    found: list[str] = []
    for line in text.split("\n"):
        if _wide(line) <= width:
            found.append(line)
        else:
            found += textwrap.wrap(line, max(width // 2 if _wide(line) > len(line) else width, 1)) or [""]
    return found


def _wide(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
