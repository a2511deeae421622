"""The last model: the chosen members, fitted once more on all rows, and the meta learner above them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import skops.io

from finetune.automl import ensemble
from finetune.automl.boosters import Given, Lightgbm
from finetune.automl.featurizer import VECTORS, View
from finetune.automl.model import Contract, Member
from finetune.automl.rows import Rows
from finetune.automl.trial import Estimator, encoded_target, threads_of, weights_of

Numbers = Any
_FURTHER = 1.15  # rounds on all rows, against those that were good on a part of them: at most


def assemble(
    rows: Rows, members: Sequence[Member], folder: Path, *, meta: tuple[str, dict[int, Numbers]] | None, score: float
) -> Contract:
    """Fit the members on all rows and write the model into a folder."""
    learned = rows.learned
    views: dict[str, tuple[View, Any]] = {}
    made = []
    for place, member in enumerate(members):
        kind = member.proposal.view
        if kind not in views:
            view = View(kind, rows.plan)
            views[kind] = (view, view.fit(rows.prepared.iloc[learned], encoded_target(rows)[learned]))
            view.save(folder / f"{kind}.skops")
        view, matrix = views[kind]
        made.append(_fitted(rows, member, view, matrix, folder=folder, place=place))
    contract = Contract(
        task=rows.wanted.task, target=rows.wanted.target, classes=tuple(rows.classes), several=rows.several,
        metric=rows.wanted.metric, score=score, plan=rows.plan, embeds=VECTORS in views,
        views={kind: {"file": f"{kind}.skops", "codes": view.codes} for kind, (view, _) in views.items()},
        members=tuple(made), meta=_meta(rows, meta, folder) if meta else None,
    )  # fmt: skip
    contract.save(folder)
    return contract


def _fitted(rows: Rows, member: Member, view: View, matrix: Any, *, folder: Path, place: int) -> Member:
    proposal = member.proposal
    classes = 0 if rows.several else len(rows.classes)
    estimator = Estimator(proposal, classes=classes, threads=threads_of(rows), several=rows.several)
    weights = weights_of(rows, balanced=bool(proposal.params.get("balanced")))
    data = Given(
        matrix=matrix, target=rows.target[rows.learned], weights=None if weights is None else weights[rows.learned]
    )
    more = min(_FURTHER, (len(rows.learned) / max(1, int(np.mean([len(train) for train, _ in rows.parts])))) ** 0.5)
    rounds = max(1, round(member.rounds * more)) if estimator.boosts else None
    estimator.fit(data, None, codes=view.codes, until=float("inf"), rounds=rounds)
    return replace(member, file=estimator.save(folder, str(place)), rounds=rounds or 0)


def _meta(rows: Rows, meta: tuple[str, dict[int, Numbers]], folder: Path) -> dict[str, Any]:
    kind, predicted = meta
    held = np.unique(np.concatenate(rows.held))
    matrix = ensemble.below(predicted, list(predicted), classes=len(rows.classes))
    learner = ensemble.fit_meta(rows, kind, matrix[held], held)
    if isinstance(learner, Lightgbm):
        learner.save(folder / "meta.txt")
        return {"kind": kind, "file": "meta.txt"}
    skops.io.dump(learner, folder / "meta.skops")
    return {"kind": kind, "file": "meta.skops"}
