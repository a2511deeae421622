"""Compare two scored runs of a workspace and keep the comparison: as a run, and as a report that names its sources."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from evals.baselines import Baseline
from evals.compare import Comparison, Pair, Terms, compare_all
from evals.gate import Decision, Gate, decide, locks
from evals.reports import words
from evals.reports.annotations import github
from evals.reports.junit import junit
from evals.reports.markdown import markdown
from evals.reports.page import page
from evals.reports.report import Fact, Report
from evals.reports.sides import Side, data_changed, of_baseline, of_run
from evals.samples import uncollected
from workspace import Asset, Run, Workspace
from workspace.errors import Invalid
from workspace.paths import write_atomically

MOST_INDENTED = 10_000  # rows; who reads more of them is a program
FILES = {
    ".html": "report.html",
    ".md": "report.md",
    ".xml": "junit.xml",
    ".json": "report.json",
    ".txt": "annotations.txt",
}


@dataclass(frozen=True, slots=True)
class Published:
    """A report that is kept: in the workspace as `asset`, and at the `files` that were asked for."""

    report: Report
    asset: Asset
    files: tuple[Path, ...]


@uncollected()
def publish(
    workspace: Workspace,
    before: str,
    after: str,
    *,
    terms: Terms = Terms(),  # noqa: B008 - frozen
    name: str | None = None,
    outputs: Sequence[Path] = (),
) -> Published:
    """Compare two runs, named as flow runs or as their scorings, and keep page, Markdown, JUnit and JSON.

    `outputs` are further copies, each by its ending: .html, .md, .xml, .json. `name` names the report asset.
    """
    check_outputs(outputs)
    old, new = of_run(workspace, before), of_run(workspace, after)
    return _publish(workspace, old, new, terms=terms, name=name, outputs=outputs)


@uncollected()
def gate(
    workspace: Workspace,
    baseline: Baseline,
    after: str,
    rules: Gate,
    *,
    data_file: str | None = None,
    outputs: Sequence[Path] = (),
) -> Published:
    """Compare a run with a baseline and decide whether it may pass; `data_file` is where its rows stand."""
    check_outputs(outputs)
    new = of_run(workspace, after)
    if data_file is not None:
        new = replace(new, data_file=data_file)
    return _publish(workspace, of_baseline(baseline), new, terms=rules.terms, rules=rules, outputs=outputs)


def check_outputs(outputs: Sequence[Path]) -> None:
    """Refuse endings that no report has, before anything is done."""
    for path in outputs:
        if path.suffix not in FILES:
            raise Invalid(f"no report ends in {path.suffix!r}: {str(path)!r}", hint=f"use {', '.join(FILES)}")


def _publish(
    workspace: Workspace,
    old: Side,
    new: Side,
    *,
    terms: Terms,
    rules: Gate | None = None,
    name: str | None = None,
    outputs: Sequence[Path] = (),
) -> Published:
    comparison, *others = compare_all(old.samples, new.samples, terms)
    decision = None if rules is None else _decided(workspace, (comparison, *others), rules, old, new)
    name = name or re.sub(r"[^\w.-]+", "-", f"{old.name}-{new.name}", flags=re.ASCII)[:200]
    params = {"before": old.name, "after": new.name, "metric": comparison.metric, "margin": terms.margin}
    tags = {"verdict": comparison.verdict} | ({} if decision is None else {"gate": decision.word})
    inputs = [side.record for side in (old, new) if side.record is not None]
    with workspace.run("comparison", inputs=inputs, params=params, tags=tags) as run:
        run.log_metrics(_metrics(comparison))
        report = Report(
            name=name,
            before=old.name,
            after=new.name,
            comparison=comparison,
            others=tuple(others),
            decision=decision,
            notes=tuple(note for note in (data_changed(old, new),) if note),
            facts=tuple(
                Fact(key, old.facts.get(key, ""), new.facts.get(key, "")) for key in {**old.facts, **new.facts}
            ),
            lineage=_lineage(workspace, name, run),
            run_id=run.run_id,
            written=f"{datetime.now(UTC):%-d %B %Y, %H:%M} UTC",
            data_file=new.data_file,
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


def _decided(workspace: Workspace, comparisons: Sequence[Comparison], rules: Gate, old: Side, new: Side) -> Decision:
    decision = decide(comparisons, rules)
    against = [*locks(workspace, new.samples, [comparison.metric for comparison in comparisons])]
    if new.record is not None and new.record.status != "FINISHED":
        against.append(f"run {new.name!r} has not finished: it is {new.record.status}")
    warnings = [*decision.warnings]
    if not rules.metrics:
        had = dict.fromkeys(name for sample in old.samples for name in sample.scores)
        has = {name for sample in new.samples for name in sample.scores}
        warnings += [f"{name}: the baseline has this metric, the run has not" for name in had if name not in has]
    return replace(decision, failures=(*decision.failures, *against), warnings=tuple(warnings))


def render(report: Report) -> Mapping[str, str]:
    """Return the text of every file of a report, by its name."""
    return {
        "report.html": page(report),
        "report.md": markdown(report),
        "junit.xml": junit(report),
        "annotations.txt": github(report),
        "report.json": _json(summary(report), indent=len(report.comparison.pairs) <= MOST_INDENTED),
    }


def summary(report: Report, *, rows: bool = True) -> dict[str, Any]:
    """Return a report as plain data: the verdict, the numbers, the settings and, if wanted, every row.

    Rows that did not change are told by their scores; what was asked and answered is in the logs of the runs.
    """
    comparison = report.comparison
    head = {
        "name": report.name,
        "run_id": report.run_id,
        "before": report.before,
        "after": report.after,
        **_told(comparison),
        "passed": report.passed,
        "decision": report.decision,
        "notes": report.notes,
        "others": [_told(other) for other in report.others],
        "facts": report.facts,
    }
    if rows:
        head["samples"] = {
            "pairs": [_pair(pair) for pair in comparison.pairs],
            "unscored": comparison.unscored,
            "only_before": comparison.only_before,
            "only_after": comparison.only_after,
        }
    return head


def as_json(told: Mapping[str, Any]) -> str:
    """Return a summary as one line of JSON."""
    return orjson.dumps(told, default=str).decode()


def _told(comparison: Comparison) -> dict[str, Any]:
    return {
        "metric": comparison.metric,
        "verdict": comparison.verdict,
        "headline": words.headline(comparison),
        "not_worse": comparison.not_worse,
        "margin": comparison.margin,
        "p": comparison.p,
        "rows": len(comparison.pairs),
        "repeats": comparison.repeats,
        "broke": len(comparison.losses),
        "fixed": len(comparison.gains),
        "unscored": len(comparison.unscored),
        "only_before": len(comparison.only_before),
        "only_after": len(comparison.only_after),
        "edited": [after.label for _, after in comparison.edited],
        "duplicates": [sample.label for sample in comparison.duplicates],
        "measured": comparison.measured,
        "slices": comparison.slices,
    }


def _pair(pair: Pair) -> dict[str, Any]:
    told = {"row": pair.after.label, "number": pair.after.number, "old": pair.old, "new": pair.new}
    return told | ({"before": pair.before, "after": pair.after} if pair.change else {})


def _json(told: Mapping[str, Any], *, indent: bool) -> str:
    option = orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if indent else 0)
    try:
        return orjson.dumps(told, default=str, option=option).decode()
    except TypeError:  # halves of surrogate pairs, which an answer may hold
        return json.dumps(told, default=_plain, indent=1 if indent else None) + "\n"


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


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


def _lineage(workspace: Workspace, name: str, run: Run) -> str:
    """Draw what the report will be made from; its own run is about to end."""
    first, *rest = workspace.lineage.tree(run.ref).splitlines()
    return "\n".join((f"report {name}", f"└─ {first.removesuffix(' (RUNNING)')}", *(f"   {line}" for line in rest)))
