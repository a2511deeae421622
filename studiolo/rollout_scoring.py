"""Scores for rollouts: what a gateway laid aside of both sides is judged here, and the gateway reads what came of it.

The judging is slow and may fail; neither holds up an answer. A score that cannot be given is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals import scorers
from evals.samples import Sample, as_text
from evals.scorers import Scorer
from evals.scorers.judge import ChatModel, judge
from serving.rollouts import records
from serving.rollouts.records import Quality
from serving.rollouts.watch import SAMPLES, SCORES
from studiolo.chat import running_gateway
from workspace.errors import Invalid, Unavailable
from workspace.home import Workspace
from workspace.paths import locked, write_atomically

AT_ONCE = 16  # samples of one rollout in one round
RUBRIC = "The answer is correct, complete and follows the instruction."
_READ = "samples.read"  # how far the samples were scored, in bytes


def score_new(workspace: Workspace) -> int:
    """Score what rollouts have laid aside since the last round; return how many scores there are more."""
    scored = 0
    for rollout in records.listed(workspace, going_on=True):
        folder = workspace.home / "rollouts" / rollout.id
        if rollout.plan.quality and (folder / SAMPLES).exists():
            try:
                scored += _score(folder, scorer_of(workspace, rollout.plan.quality))
            except Unavailable:
                continue  # a judge has nobody to ask; a later round will
    return scored


def scorer_of(workspace: Workspace, quality: Quality) -> Scorer:
    """Return what scores the answers of a rollout; Unavailable where a judge cannot be asked now."""
    if quality.scorer != "judge":
        return scorers.get(quality.scorer)
    if not quality.model:
        raise Invalid("a judge needs a model to ask", hint="quality: {scorer: judge, model: NAME}")
    gateway = running_gateway(workspace)
    chat = ChatModel(base_url=gateway.base_url, model=quality.model, api_key=gateway.token)
    return judge(chat, quality.rubric or RUBRIC)


def _score(folder: Path, score: Scorer) -> int:
    with locked(folder / "scoring.lock"):
        rows, end = _unread(folder)
        scored = [(row, score(_sample(row))) for row in rows]
        told = [
            {"request_id": row["request_id"], "candidate": row["candidate"], "value": found.value}
            for row, found in scored
            if found.value is not None
        ]
        with (folder / SCORES).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in told)
        write_atomically(folder / _READ, str(end))
    return len(told)


def _unread(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the next samples and where they end; a line that is still being written is left for the next round."""
    start = int((folder / _READ).read_text()) if (folder / _READ).exists() else 0
    with (folder / SAMPLES).open("rb") as file:
        file.seek(start)
        lines = [line for _, line in zip(range(AT_ONCE), file, strict=False) if line.endswith(b"\n")]
    return [json.loads(line) for line in lines], start + sum(map(len, lines))


def _sample(row: Mapping[str, Any]) -> Sample:
    """Return a request and its answer as a scorer sees them; `metadata.expected` may hold the right answer."""
    request = row["request"]
    messages = request.get("messages") or [{"role": "user", "content": request.get("prompt", "")}]
    inputs = {str(message.get("role")): as_text(message.get("content")) for message in messages}
    metadata = request.get("metadata")
    expected = metadata.get("expected") if isinstance(metadata, dict) else None
    return Sample(
        number=0, row=row["request_id"], inputs=inputs, answer=row["answer"],
        expected=None if expected is None else as_text(expected),
    )  # fmt: skip
