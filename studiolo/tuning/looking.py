"""Training data looked at before it is trained on: what is wrong, how long it is, and what will be learnt of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data import preview, read
from finetune.data.duplicates import duplicates
from finetune.data.encode import Encoding, encode
from finetune.data.preview import Shown
from finetune.data.read import Found, Problem, Reading
from finetune.data.statistics import Statistics, statistics
from finetune.data.tokenizing import open_tokenizer
from serving.engines.launch_adapters import weights_of
from studiolo.tuning.bases import base_of
from workspace.errors import Invalid, NotFound
from workspace.paths import write_atomically

if TYPE_CHECKING:
    from workspace.assets import Asset
    from workspace.home import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What there is to see: `clean` are the rows that can be trained on and say what no earlier one says."""

    name: str
    model: str
    statistics: Statistics
    shown: Sequence[Shown]
    problems: Sequence[Problem]
    clean: Sequence[Found]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        problems = [
            {"row": problem.number, "reason": problem.reason, "hint": problem.hint, "at": str(problem.at)}
            for problem in self.problems
        ]
        shown = [
            {"row": each.row, "tokens": each.tokens, "learnt": each.learnt,
             "pieces": [{"text": piece.text, "learnt": piece.learnt, "label": piece.label} for piece in each.pieces]}
            for each in self.shown
        ]  # fmt: skip
        return {
            "data": self.name, "model": self.model, **self.statistics.as_json(), "problems": problems, "shown": shown,
            "clean": len(self.clean),
        }  # fmt: skip


def look(
    workspace: Workspace, data: str, model: str, *, reading: Reading, how: Encoding, show: int, folder: Path
) -> Look:
    """Return what is to be seen of data as a model would read it; raises Invalid where no row can be trained on."""
    path = read.place(workspace, data)
    base = _base(workspace, model, folder)
    rows: list[Found] = []
    problems: list[Problem] = []
    for each in read.found(path, reading):
        if isinstance(each, Found):
            rows.append(each)
        else:
            problems.append(each)
    if not rows:
        first = problems[0]
        raise Invalid(f"no row can be trained on: {first.reason}", at=first.at, hint=first.hint)
    tokenizer = open_tokenizer(weights_of(workspace, base)[0])  # an adapter reads as its base does
    batch = encode((each.row for each in rows), tokenizer, how)
    same = duplicates([each.row for each in rows])
    again = {each.row for each in same}
    found = statistics(read.form(path, reading), len(rows), batch, how.max_length, same)
    return Look(
        name=data, model=base.ref, statistics=found, shown=preview.shown(batch, tokenizer, show), problems=problems,
        clean=[each for each in rows if each.row.number not in again],
    )  # fmt: skip


def _base(workspace: Workspace, model: str, folder: Path) -> Asset:
    try:
        return base_of(workspace, model, folder)
    except NotFound as error:
        hint = error.hint if workspace.assets.list("model") else "studiolo models prepare"
        raise NotFound(error.message, hint=hint, at=error.at) from None


def write_page(look: Look, path: Path) -> None:
    """Write what there is to see as a page that needs nothing beside it."""
    write_atomically(path, preview.page(look.name, look.statistics, look.shown).encode())


def write_rows(rows: Iterable[Found], path: Path) -> None:
    """Write rows as JSON lines, with the columns that they came with."""
    if path.suffix.lower() != ".jsonl":
        raise Invalid(f"rows are written as JSON lines, not {path.suffix or 'as a file without a suffix'}")
    lines = (json.dumps(row.raw, ensure_ascii=False, default=str) for row in rows)
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode())
