"""The two sides of a comparison: runs of the workspace or a blessed baseline, and what each was made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from evals import samples
from evals.baselines import Baseline
from evals.samples import Sample
from evals.score import SCORED_RUN
from workspace import Asset, RunRecord, Workspace
from workspace.errors import Invalid, NotFound

# What of a run's parameters a reader wants to compare.
SETTINGS = ("variant", "column_mapping", "task", "target", "task_digest", "data_digest", "epochs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side: its samples, what it was made of, and its run where it is one. `data_file` is where its rows stand."""

    name: str
    task: str
    samples: tuple[Sample, ...]
    facts: Mapping[str, str]
    record: RunRecord | None = None
    data_file: str = ""


def of_run(workspace: Workspace, ref: str) -> Side:
    """Return the side that a run is, named as a flow run, as its scoring, or as a run of a task."""
    record = scored(workspace, ref)
    source = _source(workspace, record)
    made_of = _made_of(workspace, source)
    data = [asset for asset in made_of if asset.kind == "data"]
    found = samples.read(record.directory)
    return Side(
        name=str(record.params.get("run") or record.name),
        task=str(record.params.get("task") or (data[0].name if data else source.name)),
        samples=found,
        facts=_facts(source, made_of, found),
        record=record,
        data_file=str(data[0].properties.get("filename", data[0].name)) if data else "",
    )


def of_baseline(baseline: Baseline) -> Side:
    """Return the side that a baseline is."""
    return Side(name=baseline.name, task=baseline.task, samples=baseline.samples, facts=baseline.facts)


def as_baseline(side: Side) -> Baseline:
    """Return what of a side is kept as a baseline; Invalid for a run that is not over, or has no scores."""
    if side.record is not None and side.record.status != "FINISHED":
        hint = f"go on: studiolo eval run --resume {side.name}"
        raise Invalid(f"run {side.name!r} is {side.record.status.lower()}, not finished", hint=hint)
    if not any(score.value is not None for sample in side.samples for score in sample.scores.values()):
        raise Invalid(f"run {side.name!r} has no scores to compare with", hint=f"studiolo eval show {side.name}")
    return Baseline(name=side.name, task=side.task, samples=side.samples, facts=side.facts)


def scored(workspace: Workspace, ref: str) -> RunRecord:
    """Return the scoring that a reference means: itself, or the newest one of that flow run."""
    run = workspace.runs.get(ref)
    if run.kind == "eval":
        return run
    scorings = [record for record in workspace.runs.list(kind="eval", limit=10_000) if _scores(record, run)]
    if not scorings:
        raise NotFound(f"run {run.name!r} has no scores", hint=f"first `studiolo eval score {run.name} --scorer exact`")
    return max(scorings, key=lambda record: record.started_at)


def _scores(record: RunRecord, run: RunRecord) -> bool:
    return record.tags.get(SCORED_RUN) == run.run_id and record.status == "FINISHED"


def _source(workspace: Workspace, record: RunRecord) -> RunRecord:
    """Return the flow run that was scored, or the run itself where it asked on its own."""
    run_id = record.tags.get(SCORED_RUN)
    return workspace.runs.get(run_id) if run_id else record


def _facts(run: RunRecord, made_of: Iterable[Asset], found: Iterable[Sample]) -> dict[str, str]:
    """Return what a scored run was made of, each setting by the name people give it."""
    facts = {"run id": run.run_id}
    for asset in made_of:
        for key, told in ((asset.kind, f"{asset.name}:{asset.version}"), (f"{asset.kind} hash", asset.digest)):
            facts[key] = f"{facts[key]}, {told}" if key in facts else told
    facts |= {key.replace("_", " "): str(run.params[key]) for key in SETTINGS if run.params.get(key)}
    git = run.environment.get("git") or {}
    if commit := git.get("commit"):
        facts["commit"] = f"{commit}{' with uncommitted changes' if git.get('dirty') else ''}"
    details: dict[str, set[str]] = {"model": set(), "rubric": set()}
    scorers: dict[str, None] = {}
    for sample in found:
        for name, score in sample.scores.items():
            scorers[name] = None
            for key, values in details.items():
                if key in score.details:
                    values.add(str(score.details[key]))
    facts["scorer"] = ", ".join(scorers)
    for key, told in (("model", "judge"), ("rubric", "rubric hash")):
        if details[key]:
            facts[told] = ", ".join(sorted(details[key]))
    return facts


def _made_of(workspace: Workspace, run: RunRecord) -> list[Asset]:
    sources = [edge.source for edge in workspace.lineage.upstream(run, depth=1)]
    nodes = sorted(node for node in sources if not node.startswith("run:"))
    order = {"flow": 0, "data": 1, "model": 2}
    assets = [workspace.assets.get(*node.split(":", 1)) for node in nodes]
    return sorted(assets, key=lambda asset: order.get(asset.kind, 3))


def data_changed(before: Side, after: Side) -> str | None:
    """Return what to say where the data of the two sides differ, None where they are the same or unknown."""
    for key, name in (("data hash", "data"), ("data digest", "data")):
        one, other = before.facts.get(key), after.facts.get(key)
        if one and other and one != other:
            was, now = before.facts.get(name, one[:19]), after.facts.get(name, other[:19])
            return f"The data changed between the runs: {was} before, {now} after. Rows are paired by their content."
    return None
