"""Baselines: runs that were blessed, as a file of the repository or under a label; only a blessing changes them."""

from __future__ import annotations

import difflib
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from evals.samples import Sample, Score, as_line
from workspace import Asset, Workspace
from workspace.errors import Invalid, NotFound
from workspace.paths import write_atomically

KIND = "report"
FORMAT = "studiolo-baseline/1"
FILE = "baseline.json"
LONGEST_ANSWER = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What later runs are compared with: the samples of the run `name`, and what it was made of."""

    name: str
    task: str
    samples: tuple[Sample, ...]
    facts: Mapping[str, str]


def write(path: Path, baseline: Baseline) -> None:
    """Write a baseline as a file to commit: one line a row, so that a diff shows what has changed.

    What a row was asked is in the data already and named here by its hash; answers are cut to 4,000 characters.
    """
    write_atomically(path, _text(baseline), mode=0o644)


def read(path: Path) -> Baseline:
    """Read a baseline file. Raises NotFound, Invalid."""
    try:
        found = json.loads(path.read_text("utf-8"))
        if found["format"] != FORMAT:
            raise Invalid(f"baseline {str(path)!r} has the format {found['format']!r}", hint=f"this reads {FORMAT}")
        samples = tuple(_sample(row) for row in found["samples"])
        return Baseline(name=found["name"], task=found["task"], samples=samples, facts=dict(found["facts"]))
    except FileNotFoundError:
        raise NotFound(f"no baseline {str(path)!r}", hint="make it: `studiolo eval bless RUN -o FILE`") from None
    except OSError as error:
        raise Invalid(f"baseline {str(path)!r} cannot be read: {error.strerror}", hint="a baseline is a file") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        hint = "files of `studiolo eval bless RUN -o FILE` are baselines"
        raise Invalid(f"{str(path)!r} is no baseline: {error!r}", hint=hint) from None


def bless(workspace: Workspace, baseline: Baseline, label: str) -> Asset:
    """Keep a baseline under a label of its task: the label stays where it is until something else is blessed."""
    name = asset_name(baseline.task)
    with tempfile.TemporaryDirectory(prefix="baseline-") as folder:
        path = Path(folder) / FILE
        path.write_text(_text(baseline), "utf-8")
        asset = workspace.assets.put(KIND, name, path, properties={"run": baseline.name, "task": baseline.task})
    return workspace.assets.label(asset, label.removeprefix("@"))


def find(workspace: Workspace, ref: str, *, task: str) -> Baseline | None:
    """Return the baseline that a reference names: a file, or a label of the task with or without `@`; else None."""
    if ref.endswith(".json") or "/" in ref:
        path = Path(ref)
        return read(path) if path.exists() else None
    try:
        asset = workspace.assets.get(KIND, f"{asset_name(task)}@{ref.removeprefix('@')}")
    except (NotFound, Invalid):
        return None
    place = workspace.assets.path(asset)
    return read(place / FILE if place.is_dir() else place)


def meant(workspace: Workspace, ref: str, *, task: str) -> str | None:
    """Return the baseline that was probably meant by a reference which names none: a typo must not open a gate."""
    if ref.endswith(".json") or "/" in ref:
        path = Path(ref)
        near = difflib.get_close_matches(path.name, [each.name for each in path.parent.glob("*.json")], n=1)
        return str(path.parent / near[0]) if near else None
    kept = workspace.assets.list(KIND, every_version=True)
    known = [label for asset in kept if asset.name == asset_name(task) for label in asset.labels]
    return next(iter(difflib.get_close_matches(ref.removeprefix("@"), known, n=1)), None)


def asset_name(task: str) -> str:
    """Return the name under which a task's baselines are kept."""
    plain = re.sub(r"[^\w.-]+", "-", task, flags=re.ASCII).strip("-.")
    return f"baseline-{plain[:180]}"


def _text(baseline: Baseline) -> str:
    head = {"format": FORMAT, "name": baseline.name, "task": baseline.task, "facts": dict(baseline.facts)}
    rows = ",\n".join(_line(sample) for sample in baseline.samples)
    return f'{json.dumps(head, ensure_ascii=False)[:-1]},\n"samples": [\n{rows}\n]}}\n'


def _line(sample: Sample) -> str:
    """Return what of a sample a comparison needs, without what it was asked."""
    answer = None if sample.answer is None else sample.answer[:LONGEST_ANSWER]
    kept = replace(sample, inputs={}, outputs={}, answer=answer, scores={k: _bare(v) for k, v in sample.scores.items()})
    fields = orjson.loads(as_line(kept))
    wanted = ("number", "row", "name", "answer", "error", "cluster", "epoch", "metadata", "scores")
    return orjson.dumps({key: fields[key] for key in wanted if fields[key] not in (None, {})}).decode()


def _bare(score: Score) -> Score:
    return Score(value=score.value, error=score.error)


def _sample(row: Mapping[str, Any]) -> Sample:
    scores = {name: Score(**score) for name, score in row["scores"].items()}
    return Sample(**{**row, "inputs": {}, "scores": scores})
