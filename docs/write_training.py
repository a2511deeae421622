"""Write the table of keys in docs/training.md: from the training file's own reader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune.language.spec import Rows, TuneJob
from jobs.files.command import Job
from jobs.files.record import keys_of

PAGE = Path(__file__).parent / "training.md"
BEGIN, END = "<!-- keys: written by `make docs` -->\n", "<!-- end of keys -->"
HEAD = "| key | default | what it says |\n|---|---|---|\n"


def table() -> str:
    """Return every key of a training file with its default."""
    common = keys_of(Job)
    return HEAD + "".join(_rows(TuneJob, "", leave=set(common) | {"type", "resources", "queue_settings"}))


def _rows(made: Any, before: str, leave: set[str]) -> Iterator[str]:
    for name, key in keys_of(made).items():
        if name in leave:
            continue
        inner = getattr(key.shape, "made", None)
        if inner is not None and inner.__module__ == TuneJob.__module__:
            yield from _rows(inner, f"{before}{name}.", set())
            continue
        if name == "data":
            yield from _rows(Rows, "data.", set())
            continue
        default = "needed" if key.required else f"`{_plain(key.default)}`"
        yield f"| `{before}{name}` | {default} | {key.about} |\n"


def _plain(value: Any) -> str:
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else _text(value)


def _text(value: Any) -> str:
    return "none" if value in (None, (), {}) else str(value)


def page(text: str) -> str:
    """Return the page with the table as it is now."""
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: f"{BEGIN}{table()}{END}", text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
