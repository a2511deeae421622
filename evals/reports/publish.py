"""Compare two scored runs of a workspace and keep the comparison: as a run, and as a report that names its sources."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evals import samples
from evals.compare import MARGIN, Comparison, compare
from evals.reports import words
from evals.reports.junit import junit
from evals.reports.markdown import markdown
from evals.reports.page import page
from evals.reports.report import Fact, Report
from evals.score import SCORED_RUN
from workspace import Asset, Run, RunRecord, Workspace
from workspace.errors import Invalid, NotFound
from workspace.paths import write_atomically

FILES = {".html": "report.html", ".md": "report.md", ".xml": "junit.xml", ".json": "report.json"}


@dataclass(frozen=True, slots=True)
class Published:
    """A report that is kept: in the workspace as `asset`, and at the `files` that were asked for."""

    report: Report
    asset: Asset
    files: tuple[Path, ...]


def publish(
    workspace: Workspace,
    before: str,
    after: str,
    *,
    metric: str | None = None,
    margin: float = MARGIN,
    name: str | None = None,
    outputs: Sequence[Path] = (),
) -> Published:
    """Compare two runs, named as flow runs or as their scorings, and keep page, Markdown, JUnit and JSON.

    `outputs` are further copies, each by its ending: .html, .md, .xml, .json. `name` names the report asset.
    """
    for path in outputs:
        if path.suffix not in FILES:
            raise Invalid(f"no report ends in {path.suffix!r}: {str(path)!r}", hint=f"use {', '.join(FILES)}")
    old, new = scored(workspace, before), scored(workspace, after)
    comparison = compare(samples.read(old.directory), samples.read(new.directory), metric, margin=margin)
    name = name or re.sub(r"[^\w.-]+", "-", f"{_subject(old)}-{_subject(new)}", flags=re.ASCII)[:200]
    params = {"before": old.name, "after": new.name, "metric": comparison.metric, "margin": margin}
    with workspace.run("comparison", inputs=[old, new], params=params, tags={"verdict": comparison.verdict}) as run:
        run.log_metrics(_metrics(comparison))
        report = Report(
            name=name,
            before=_subject(old),
            after=_subject(new),
            comparison=comparison,
            facts=_facts(workspace, old, new, comparison.metric),
            lineage=_lineage(workspace, name, run),
            run_id=run.run_id,
            written=f"{datetime.now(UTC):%-d %B %Y, %H:%M} UTC",
            data_file=_data_file(workspace, new),
        )
        texts = render(report)
        folder = run.directory / "artifacts" / "report"
        for file, text in texts.items():
            run.log_artifact(f"report/{file}", text)
        asset = workspace.assets.put("report", name, folder, properties={"verdict": comparison.verdict})
        run.output(asset)
    for path in outputs:
        write_atomically(path, texts[FILES[path.suffix]], mode=0o644)
    return Published(report, asset, tuple(outputs))


def render(report: Report) -> Mapping[str, str]:
    """Return the text of every file of a report, by its name."""
    return {
        "report.html": page(report),
        "report.md": markdown(report),
        "junit.xml": junit(report),
        "report.json": json.dumps(summary(report), indent=1, ensure_ascii=False, default=str) + "\n",
    }


def summary(report: Report, *, rows: bool = True) -> dict[str, Any]:
    """Return a report as plain data: the verdict, the numbers, the settings and, if wanted, every row."""
    comparison = report.comparison
    head = {
        "name": report.name,
        "run_id": report.run_id,
        "before": report.before,
        "after": report.after,
        "metric": comparison.metric,
        "verdict": comparison.verdict,
        "headline": words.headline(comparison),
        "passed": comparison.passed,
        "not_worse": comparison.not_worse,
        "margin": comparison.margin,
        "rows": len(comparison.pairs),
        "broke": len(comparison.losses),
        "fixed": len(comparison.gains),
        "unscored": len(comparison.unscored),
        "only_before": len(comparison.only_before),
        "only_after": len(comparison.only_after),
        "measured": asdict(comparison.measured),
        "facts": [asdict(fact) for fact in report.facts],
    }
    if rows:
        lists = ("pairs", "unscored", "only_before", "only_after")
        head["samples"] = {which: [asdict(row) for row in getattr(comparison, which)] for which in lists}
    return head


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


def _subject(scoring: RunRecord) -> str:
    return str(scoring.params.get("run") or scoring.name)


def _metrics(comparison: Comparison) -> dict[str, float]:
    measured = comparison.measured
    numbers = {
        "before": measured.before.estimate,
        "after": measured.after.estimate,
        "change": measured.change.estimate,
        "change.low": measured.change.low,
        "change.high": measured.change.high,
        "p": measured.test.p,
        "rows": float(len(comparison.pairs)),
    }
    return numbers if measured.visible is None else numbers | {"visible": measured.visible}


def _facts(workspace: Workspace, before: RunRecord, after: RunRecord, metric: str) -> tuple[Fact, ...]:
    old, new = (_settings(workspace, record, metric) for record in (before, after))
    return tuple(Fact(name, old.get(name, ""), new.get(name, "")) for name in {**old, **new})


def _settings(workspace: Workspace, scoring: RunRecord, metric: str) -> dict[str, str]:
    """Return what a scored run was made of, each setting by the name people give it."""
    run = workspace.runs.get(scoring.tags[SCORED_RUN])
    found = {"run id": run.run_id}
    for asset in _made_of(workspace, run):
        key, told = asset.kind, f"{asset.name}:{asset.version}"
        found[key] = f"{found[key]}, {told}" if key in found else told
        found[f"{key} hash"] = f"{found[f'{key} hash']}, {asset.digest}" if f"{key} hash" in found else asset.digest
    found |= {key: str(value) for key, value in run.params.items() if key in ("variant", "column_mapping") and value}
    git = run.environment.get("git") or {}
    if commit := git.get("commit"):
        found["commit"] = f"{commit}{' with uncommitted changes' if git.get('dirty') else ''}"
    found["scorer"] = metric
    details = [sample.scores[metric].details for sample in samples.read(scoring.directory) if metric in sample.scores]
    for key, told in (("model", "judge"), ("rubric", "rubric hash")):
        if values := sorted({str(detail[key]) for detail in details if key in detail}):
            found[told] = ", ".join(values)
    return found


def _made_of(workspace: Workspace, run: RunRecord) -> list[Asset]:
    sources = [edge.source for edge in workspace.lineage.upstream(run, depth=1)]
    nodes = sorted(node for node in sources if not node.startswith("run:"))
    order = {"flow": 0, "data": 1, "model": 2}
    assets = [workspace.assets.get(*node.split(":", 1)) for node in nodes]
    return sorted(assets, key=lambda asset: order.get(asset.kind, 3))


def _data_file(workspace: Workspace, scoring: RunRecord) -> str:
    run = workspace.runs.get(scoring.tags[SCORED_RUN])
    data = [asset for asset in _made_of(workspace, run) if asset.kind == "data"]
    return str(data[0].properties.get("filename", data[0].name)) if data else ""


def _lineage(workspace: Workspace, name: str, run: Run) -> str:
    """Draw what the report will be made from; its own run is about to end."""
    first, *rest = workspace.lineage.tree(run.ref).splitlines()
    return "\n".join((f"report {name}", f"└─ {first.removesuffix(' (RUNNING)')}", *(f"   {line}" for line in rest)))
