"""The main job in one go: a flow asked in two ways, answered by a real model, scored, compared and traced back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import flows
from catalog import embedded
from evals import score, scorers
from evals.compare import Terms
from evals.reports import publish, words
from flows.connections import Connection
from serving.local import local_gateway
from workspace import Asset, Workspace
from workspace.errors import Conflict, NotFound
from workspace.paths import writing

VARIANTS = ("plain", "shown")
METRICS = ("normalized", "contains")
REPORTS = ("report.html", "report.md", "junit.xml")
LINES = 16  # at the same time: on a busy machine, more of them would wait for the model until their time is over


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the demo begins: what it does, in words, and how many steps it has where that is known."""

    text: str
    steps: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the present stage is done."""

    failed: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What one metric says: `sentence` is the comparison in words."""

    metric: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The demo is done: its findings, the report asset, the files it wrote and where everything came from.

    `failed` are the lines that got no answer, say on a machine too busy to give one in time; the rest are compared.
    """

    findings: tuple[Finding, ...]
    report: Asset
    files: tuple[Path, ...]
    lineage: str
    failed: int = 0


Event = Stage | Step | Finished


def demo(workspace: Workspace, folder: Path) -> Iterator[Event]:
    """Run both variants of the demo flow over its questions, compare them and write the reports into `folder`.

    Uses the running gateway, or one of its own for as long as it takes. Every part is an ordinary run that stays in
    the workspace: the flow runs, their scorings, the comparison and the report.
    """
    yield Stage("prepare the embedded models")
    for _ in embedded.prepare(workspace):
        yield Step()
    with as_file(files("studiolo") / "demo_flow") as source, local_gateway(workspace) as gateway:
        connections = {"default": Connection.to_gateway(gateway.base_url, gateway.token)}
        runs, failed = {}, 0
        for variant in VARIANTS:
            data = source / "questions.jsonl"
            yield Stage(f"ask {_count(data)} questions, variant {variant!r}", _count(data))
            flow = flows.load(source, variant=f"ask.{variant}")
            batch = flows.Batch(
                data=data,
                column_mapping={"question": "${data.question}"},
                connections=connections,
                name=_free_name(workspace, f"demo-{variant}"),
                conditions=flows.Conditions(concurrency=LINES),
            )
            for event in flows.run(workspace, flow, batch):
                if isinstance(event, flows.LineDone):
                    failed += event.error is not None
                    yield Step(failed=event.error is not None)
                elif isinstance(event, flows.Finished):
                    runs[variant] = event.name
    yield Stage("score the answers and compare the variants")
    for name in runs.values():
        for _ in score.score(
            workspace,
            workspace.runs.get(name),
            {metric: scorers.get(metric) for metric in METRICS},
            expected="${data.expected}",
        ):
            pass
        yield Step()
    before, after = (runs[variant] for variant in VARIANTS)
    outputs = [folder / file for file in REPORTS]
    main, other = METRICS
    published = publish.publish(workspace, before, after, terms=Terms(metrics=(main,)), name="demo", outputs=outputs)
    second = publish.publish(workspace, before, after, terms=Terms(metrics=(other,)), name=f"demo-{other}")
    yield Finished(
        findings=tuple(
            Finding(each.report.comparison.metric, words.sentence(each.report.comparison))
            for each in (published, second)
        ),
        report=published.asset,
        files=published.files,
        lineage=workspace.lineage.tree(published.asset.ref),
        failed=failed,
    )


def copy_flow(target: Path) -> Path:
    """Copy the demo's flow and its questions to a new folder, to be changed."""
    if target.exists():
        raise Conflict(f"{str(target)!r} exists already", hint="name a folder that does not exist yet")
    with as_file(files("studiolo") / "demo_flow") as source, writing(target):
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".promptflow"))
    return target


def _count(data: Path) -> int:
    with data.open(encoding="utf-8") as file:
        return sum(1 for line in file if line.strip())


def _free_name(workspace: Workspace, name: str) -> str:
    """Return the name, or the first of `name-2`, `name-3`, … that no run has yet."""
    number = 1
    while True:
        candidate = name if number == 1 else f"{name}-{number}"
        try:
            workspace.runs.get(candidate)
        except NotFound:
            return candidate
        number += 1
