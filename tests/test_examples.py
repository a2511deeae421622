"""Every example flow is checked and run; those that ask a model answer from a recording that lies beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import flows
from flows import approvals
from flows.connections import Connection
from flows.rag.chunks import Chunking
from flows.rag.index_update import Updated
from studiolo import flow_batches, index_shelf
from studiolo.flow_batches import Asked
from studiolo.flow_connections import NOWHERE
from workspace import Settings, Workspace

EXAMPLES = Path(__file__).parent.parent / "examples" / "flows"
FLOWS = sorted({path.parent for name in ("flow.*.yaml", "*.prompty") for path in EXAMPLES.glob(f"*/{name}")})
CONNECTIONS = {
    "default": Connection.to_gateway(NOWHERE, "none", model=Settings().model),
    "signing_service": Connection(
        name="signing_service", type="custom", configs={"algorithm": "sha256"}, secrets={"key": "not a secret"}
    ),
}
ASK = EXAMPLES / "ask-documents"
OTHERS = [each for each in FLOWS if each != ASK]  # it needs an index


def test_there_are_enough_of_them() -> None:
    assert len(FLOWS) >= 12


@pytest.mark.parametrize("folder", OTHERS, ids=lambda folder: folder.name)
def test_an_example_runs_once(folder: Path, tmp_path: Path) -> None:
    flow = flows.load(folder)
    cassette = folder / "cassette.jsonl"
    conditions = flows.Conditions(home=tmp_path, cassette=(cassette, "replay") if cassette.exists() else None)
    inputs = dict(flow.sample)
    result = flows.test(flow, inputs, connections=CONNECTIONS, conditions=conditions)
    assert (result.status, result.error) == ("Completed", None)
    assert all(value is not None for value in result.outputs.values()) or folder.name == "route-requests"


@pytest.mark.parametrize(
    "folder", [each for each in OTHERS if (each / "run.yaml").exists()], ids=lambda each: each.name
)
def test_the_run_of_an_example_completes_every_line(folder: Path, workspace: Workspace) -> None:
    cassette = folder / "cassette.jsonl"
    asked = Asked(file=folder / "run.yaml", name="it", cassette=(cassette, "replay") if cassette.exists() else None)
    *_, done = flow_batches.run(workspace, asked)
    assert isinstance(done, flows.Finished)
    if done.waiting:
        assert [each.shown["payment"]["payee"] for each in approvals.waiting(workspace.runs.get("it").directory)]
        flow_batches.decide(workspace, "it", approved=True)
        *_, done = flow_batches.resume(workspace, "it")
    assert isinstance(done, flows.Finished)
    assert (done.failed, done.waiting) == (0, 0)


@pytest.mark.model
@pytest.mark.timeout(300)
def test_questions_are_answered_from_an_index_of_documents_with_their_sources(model_workspace: Workspace) -> None:
    workspace = model_workspace
    command = (ASK / "README.md").read_text().split("$ studiolo index create handbook documents ")[1].splitlines()[0]
    assert command == "--chunk-size 80 --overlap 0"
    chunking = Chunking(size=80, overlap=0)
    documents = index_shelf.Asked(name="handbook", source=ASK / "documents", chunking=chunking)
    *_, made = index_shelf.create(workspace, documents)
    assert isinstance(made, Updated)
    assert made.failed == ()
    asked = Asked(file=ASK / "run.yaml", name="answers", cassette=(ASK / "cassette.jsonl", "replay"))
    *_, done = flow_batches.run(workspace, asked)
    assert isinstance(done, flows.Finished)
    assert (done.completed, done.failed) == (3, 0)
    given: list[Any] = [line.outputs for line in flows.lines(workspace.runs.get("answers"))]
    places = [[each["place"] for each in outputs["sources"]] for outputs in given]
    assert places == [["time-off.md:5"], ["security.pdf, page 1"], ["travel.html:9"]]


def test_an_evaluation_runs_over_another_run(workspace: Workspace) -> None:
    triage, evaluation = EXAMPLES / "triage-tickets", EXAMPLES / "eval-labels"
    replay = (triage / "cassette.jsonl", "replay")
    *_, _ = flow_batches.run(workspace, Asked(file=triage / "run.yaml", name="triage", cassette=replay))
    mapping = {"expected": "${data.label}", "given": "${run.outputs.label}"}
    asked = Asked(flow=str(evaluation), data=triage / "data.jsonl", run="triage", mapping=mapping, name="measured")
    *_, done = flow_batches.run(workspace, asked)
    assert isinstance(done, flows.Finished)
    assert done.completed == 6
    rows = [json.loads(line) for line in (triage / "data.jsonl").read_text().splitlines()]
    given: list[Any] = [line.outputs["label"] for line in flows.lines(workspace.runs.get("triage")) if line.outputs]
    right = sum(row["label"] == label for row, label in zip(rows, given, strict=True))
    assert done.metrics["accuracy"] == pytest.approx(right / 6)
    edges = {edge.source for edge in workspace.lineage.upstream(workspace.runs.get("measured").ref)}
    assert workspace.runs.get("triage").ref in edges


def test_a_flex_class_gives_metrics_over_all_lines(workspace: Workspace) -> None:
    folder = EXAMPLES / "flex-class"
    asked = Asked(flow=str(folder), data=folder / "data.jsonl", init={"passing": 0.9}, name="graded")
    *_, done = flow_batches.run(workspace, asked)
    assert isinstance(done, flows.Finished)
    assert done.metrics["passed"] == 1
    assert 0.4 < done.metrics["mean"] < 0.9
