"""What a person decides while a run waits: kept beside the run's log, and used when the run goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.results import COMPLETED, LOG, WAITING, LineRecord, last_lines, plain
from workspace.errors import Conflict, did_you_mean

FILE = "decisions.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A person's answer to one approval node, for one line or (`line` None) for all that wait there."""

    node: str
    approved: bool
    line: int | None = None
    comment: str = ""
    by: str = ""
    at: float = 0.0  # UTC seconds

    def output(self) -> dict[str, Any]:
        """Return what the node gives to those after it."""
        return {"approved": self.approved, "comment": self.comment, "by": self.by, "at": self.at}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An approval node of one line that waits, and what the person is shown."""

    line: int
    node: str
    shown: dict[str, Any]


def waiting(folder: Path) -> list[Question]:
    """Return what the run in this folder waits for, in line order."""
    made = decisions(folder)
    return [
        Question(line=line.number, node=node.name, shown=dict(node.inputs))
        for line in last_lines(folder / LOG)
        if line.status == WAITING
        for node in line.nodes
        if node.status == WAITING and _decided(made, line.number, node.name) is None
    ]


def decide(folder: Path, decision: Decision) -> int:
    """Keep a decision; return how many nodes it decides. Conflict where nothing waits for it."""
    open_questions = waiting(folder)
    meant = [each for each in open_questions if each.node == decision.node and decision.line in (None, each.line)]
    if not meant:
        hint = did_you_mean(decision.node, {each.node for each in open_questions}) or "nothing waits here"
        raise Conflict(f"nothing waits for a decision of {decision.node!r}", hint=hint)
    stamped = asdict(decision) | {"at": decision.at or time.time()}
    file = os.open(folder / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, (json.dumps(stamped, ensure_ascii=False) + "\n").encode())
        os.fsync(file)
    finally:
        os.close(file)
    return len(meant)


def decisions(folder: Path) -> list[Decision]:
    """Return what has been decided, in order."""
    path = folder / FILE
    if not path.exists():
        return []
    return [Decision(**json.loads(text)) for text in path.read_text(encoding="utf-8").splitlines()]


def is_decided(line: LineRecord, made: Iterable[Decision]) -> bool:
    """Whether at least one node that the line waits for has its answer: the line can go on."""
    made = list(made)
    return any(node.status == WAITING and _decided(made, line.number, node.name) for node in line.nodes)


def known(line: LineRecord, made: Iterable[Decision]) -> dict[str, Any]:
    """Return the outputs that need not be made again when the line goes on: what ended, and what was decided."""
    made = list(made)
    found = {node.name: node.output for node in line.nodes if node.status == COMPLETED}
    for node in line.nodes:
        if node.status == WAITING and (decision := _decided(made, line.number, node.name)) is not None:
            found[node.name] = plain(decision.output())
    return found


def _decided(made: Iterable[Decision], line: int, node: str) -> Decision | None:
    fitting = [each for each in made if each.node == node and each.line in (None, line)]
    return fitting[-1] if fitting else None
