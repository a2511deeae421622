"""Tasks of Inspect: its own package runs them against our endpoint, and its log becomes our samples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.adapters import harness
from evals.adapters.harness import Endpoint, Said
from evals.samples import Sample, Score, as_text, row_id
from workspace.errors import Invalid, Location

PACKAGES = ("inspect-ai>=0.3.285,<0.4", "openai>=2")
# What Inspect's letters are worth: correct, incorrect, partial, no answer.
_WORTH: Mapping[Any, float] = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Which task, and how: `task` is `FILE.py` or `FILE.py@NAME`, or a task of an installed package."""

    task: str
    limit: int | None = None
    epochs: int | None = None
    concurrency: int = 16
    arguments: Mapping[str, str] | None = None


def measured(endpoint: Endpoint, ask: Ask, folder: Path) -> Iterator[Said | tuple[Sample, ...]]:
    """Run the task and yield what is said meanwhile, at last its samples."""
    python = yield from harness.python_with(PACKAGES)
    logs = folder / "inspect"
    variables = {
        "STUDIOLO_BASE_URL": endpoint.base_url, "STUDIOLO_API_KEY": endpoint.key or "none",
        "DO_NOT_TRACK": "1", "INSPECT_DISPLAY": "plain",
    }  # fmt: skip
    command = [str(python), "-m", "inspect_ai", *arguments(endpoint, ask, logs)]
    yield from harness.run(command, variables, Path.cwd())
    yield read(logs)


def arguments(endpoint: Endpoint, ask: Ask, logs: Path) -> list[str]:
    """Return the arguments of `inspect`, as a person would write them."""
    given = ["eval", ask.task, "--model", f"openai-api/studiolo/{endpoint.model}"]
    given += ["--log-format", "json", "--log-dir", str(logs), "--display", "plain"]
    given += ["--max-connections", str(ask.concurrency), "--no-fail-on-error"]
    given += ["--limit", str(ask.limit)] if ask.limit else []
    given += ["--epochs", str(ask.epochs)] if ask.epochs else []
    for name, value in (ask.arguments or {}).items():
        given += ["-T", f"{name}={value}"]
    return given


def read(folder: Path) -> tuple[Sample, ...]:
    """Read the newest log of Inspect in a folder. A sample that failed is an error, not a wrong answer."""
    logs = sorted(folder.glob("*.json"))
    if not logs:
        raise Invalid(f"Inspect has left no log in {str(folder)!r}", hint="it writes one where a task begins")
    try:
        log = json.loads(logs[-1].read_text(encoding="utf-8"))
        order: dict[Any, int] = {}
        return tuple(_sample(logged, order.setdefault(logged["id"], len(order))) for logged in log.get("samples") or ())
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Invalid(f"no log of Inspect: {error}", at=Location(logs[-1])) from None


def _sample(logged: Mapping[str, Any], number: int) -> Sample:
    asked, target = logged["input"], logged["target"]
    error = logged.get("error")
    output = logged.get("output") or {}
    usage = list((logged.get("model_usage") or {}).values())
    tokens = [sum(int(each.get(f"{side}_tokens", 0)) for each in usage) for side in ("input", "output")]
    return Sample(
        number=number, row=row_id({"input": asked, "target": target, "choices": logged.get("choices")}),
        inputs={"input": asked if isinstance(asked, str) else as_text(asked)},
        name=str(logged["id"]), epoch=int(logged["epoch"]), expected=as_text(target),
        answer=None if error else str(output.get("completion", "")),
        error=None if error is None else str(error.get("message", error))[:2_000],
        scores={} if error else {name: _score(score) for name, score in (logged.get("scores") or {}).items()},
        metadata=logged.get("metadata") or {}, asked=asked, seconds=logged.get("total_time"),
        tokens=(tokens[0], tokens[1]) if usage else None, model=output.get("model"),
    )  # fmt: skip


def _score(logged: Mapping[str, Any]) -> Score:
    value = logged.get("value")
    details = {key: logged[key] for key in ("answer", "explanation") if logged.get(key)}
    if isinstance(value, bool | int | float):
        return Score(value=float(value), details=details)
    if isinstance(value, str) and value in _WORTH:
        return Score(value=_WORTH[value], details=details)
    return Score(error=f"no number: {as_text(value)[:80]}", details=details)
