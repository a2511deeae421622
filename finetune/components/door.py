"""What the scripts of components share: their options, what a person is told of an error, and their tables."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

from finetune.tabular import tables
from workspace.errors import Invalid, StudioloError

if TYPE_CHECKING:
    from pandas import DataFrame

ROWS = "rows.parquet"
_WAIT = 30  # seconds for the tracking door


def start(main: Callable[[argparse.Namespace], None], options: argparse.ArgumentParser) -> None:
    """Run a component's script: an error of ours is a line and a hint, and ends it with 1."""
    try:
        main(options.parse_args())
    except StudioloError as error:
        print(f"error: {error}", *([f"hint: {error.hint}"] if error.hint else []), sep="\n", file=sys.stderr)  # noqa: T201
        raise SystemExit(error.exit_code) from None


def options(about: str | None) -> argparse.ArgumentParser:
    """Return options to which a script adds its own."""
    return argparse.ArgumentParser(description=about, allow_abbrev=False)


def problem_options(parser: argparse.ArgumentParser, *, task: str = "classification") -> None:
    """Add what says which columns are learnt, and from which rows."""
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--validation", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--target", required=True, help="the column, or several with commas between them")
    parser.add_argument("--task", default=task)
    parser.add_argument("--leave-out", default="", help="columns that are no features, with commas between them")
    parser.add_argument("--weight", default="")
    parser.add_argument("--settings", default="{}", help="further settings of the learner, as JSON")


def listed(text: str) -> tuple[str, ...]:
    """Return names that have commas between them."""
    return tuple(each.strip() for each in (text or "").split(",") if each.strip())


def settings_of(text: str) -> dict[str, Any]:
    """Return settings that are written as JSON."""
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise Invalid(f"--settings is no JSON: {error}", hint='for example {"max_depth": 4}') from None
    if not isinstance(found, dict):
        raise Invalid("--settings is a mapping", hint='for example {"max_depth": 4}')
    return found


def put(table: DataFrame, folder: Path) -> None:
    """Leave a table as an output."""
    tables.write(table, folder / ROWS)


def tell(*words: Any) -> None:
    """Say something in the job's log."""
    print(*words, flush=True)  # noqa: T201


def log(metrics: Mapping[str, float], params: Mapping[str, Any] | None = None, *, step: int = 0) -> None:
    """Log metrics and parameters to the job's run and say them.

    Over MLflow's REST, without MLflow, whose import takes longer than most of these steps.
    """
    told = {name: value for name, value in metrics.items() if not math.isnan(value)}
    for name, value in told.items():
        tell(f"{name} = {value:.6g}")
    address, run = os.environ.get("MLFLOW_TRACKING_URI", ""), os.environ.get("MLFLOW_RUN_ID", "")
    if not run or not address.startswith("http"):
        return
    now = int(time() * 1000)
    body = {
        "run_id": run,
        "metrics": [{"key": name, "value": value, "timestamp": now, "step": step} for name, value in told.items()],
        "params": [{"key": name, "value": str(value)[:6000]} for name, value in (params or {}).items()],
    }
    request = urllib.request.Request(  # noqa: S310 - the address that the job was told
        f"{address}/api/2.0/mlflow/runs/log-batch",
        json.dumps(body).encode(),
        {"content-type": "application/json", "authorization": f"Bearer {os.environ.get('MLFLOW_TRACKING_TOKEN', '')}"},
    )
    with urllib.request.urlopen(request, timeout=_WAIT) as answer:  # noqa: S310
        answer.read()
