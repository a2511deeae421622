"""How the commands show what they found: JSON, or a table that is plain text when it is piped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from studiolo.plain import plain

if TYPE_CHECKING:
    from rich.text import Text


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    print(json.dumps(plain(value), indent=2, ensure_ascii=False))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()) -> None:
    """Print rows under headings; the columns named in `right` are aligned there. Nothing is cut when piped."""
    from rich.console import Console  # late: commands that print no table import this module too
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    if not console.is_terminal:
        console.width = 1000
    console.print(table)


def moment(timestamp: float | None) -> str:
    """Return a time as people read it, in their own zone."""
    return "" if timestamp is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(timestamp))


def span(seconds: float | None) -> str:
    """Return a duration as people say it: "12.3 s", "4 min 5 s", "2 h 10 min"."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def megabytes(size: int | None) -> str:
    """Return a size in megabytes."""
    return "" if size is None else f"{size / 1e6:,.0f} MB"


def _cell(value: Any) -> Text:
    from rich.text import Text

    if isinstance(value, float):
        return Text(f"{value:.6g}")
    # Text, not markup: what people and models wrote may hold brackets and control characters.
    text = "" if value is None else str(value)
    return Text("".join(each if each.isprintable() else " " for each in text))
