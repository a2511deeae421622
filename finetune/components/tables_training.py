"""What the components that train on tables have in common: rows in, findings and metrics told, an MLflow model out."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from finetune.components import door
from finetune.tabular import keeping, tables, training
from finetune.tabular.problems import Problem


def problem_of(given: argparse.Namespace) -> Problem:
    """Return what is to be learnt, as the options say it."""
    return Problem(
        task=given.task,
        targets=door.listed(given.target),
        group=getattr(given, "group", ""),
        weight=getattr(given, "weight", ""),
        leave_out=door.listed(given.leave_out),
    )


def run(given: argparse.Namespace, way: training.Way, settings: Mapping[str, Any]) -> None:
    """Train by a way and keep the model; settings that are given as JSON go before the options."""
    settings = {**settings, **door.settings_of(given.settings)}
    table = tables.read(given.train)
    held_out = tables.read(given.validation) if given.validation else None
    trained = training.train(way, table, problem_of(given), settings, held_out=held_out)
    tell(trained, settings, seen=held_out is None)
    keeping.keep(trained, given.model)


def tell(trained: training.Trained, settings: Mapping[str, Any], *, seen: bool) -> None:
    """Say and log what was found and how well the model does; `seen` rows are those it was trained on."""
    for finding in trained.findings:
        door.tell(f"warning: {finding}")
    prefix = "training_" if seen else ""
    features = {"features": len(trained.looked.features), "rows": len(trained.looked.rows)}
    door.log({f"{prefix}{name}": value for name, value in trained.metrics.items()}, {**settings, **features})
