"""`studiolo flow`: try a flow, run it over rows, look at what came out, check it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

import flows
import studiolo
from flows.connections import Connection
from workspace import Workspace
from workspace.errors import Invalid, PartialFailure, StudioloError

app = typer.Typer(help="Test, run and check prompt flows.")

FlowPath = Annotated[Path, typer.Option("--flow", help="The flow folder or its flow.dag.yaml.")]
Variant = Annotated[str | None, typer.Option(help="Use this variant, as node.variant.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OUTPUT_WIDTH = 100


@app.command("test")
def test_command(
    flow: FlowPath,
    inputs: Annotated[
        list[str] | None, typer.Option(help="name=value, or a JSON file; give it again for more.")
    ] = None,
    variant: Variant = None,
) -> None:
    """Run a flow once: outputs as JSON on standard output, the nodes on standard error."""
    loaded = flows.load(flow, variant=variant)
    with studiolo.open_workspace() as workspace, _connections(workspace, loaded) as connections:
        result = flows.test(loaded, _inputs(inputs or []), connections=connections)
    err = Console(stderr=True, highlight=False)
    for node in result.nodes:
        tokens = f", {sum(node.tokens)} tokens" if any(node.tokens) else ""
        seconds = node.ended_at - node.started_at
        said = node.error or json.dumps(node.output, ensure_ascii=False, default=repr)
        err.print(f"{node.name}: {node.status} in {seconds:.2f} s{tokens}", style="red" if node.error else "")
        shown = f"  {said[:OUTPUT_WIDTH]}{'…' if len(said) > OUTPUT_WIDTH else ''}"
        err.print(shown, markup=False, soft_wrap=True)
    if result.error:
        raise StudioloError(result.error, hint=f"the flow is {loaded.file}")
    print(json.dumps({**result.outputs, **({"metrics": result.metrics} if result.metrics else {})}, ensure_ascii=False))


@app.command("run")
def run_command(
    flow: FlowPath,
    data: Annotated[Path, typer.Option(help="The rows: .jsonl, .json, .csv or .tsv.")],
    column_mapping: Annotated[list[str] | None, typer.Option(help="input='${data.column}'; again for more.")] = None,
    variant: Variant = None,
    name: Annotated[str | None, typer.Option(help="What to call the run.")] = None,
    resume_from: Annotated[str | None, typer.Option(help="Go on with this run, ended before its time.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Lines at the same time.")] = 16,
) -> None:
    """Run a flow over rows. A row that fails is recorded and the rest go on; the exit code is then 3."""
    loaded = flows.load(flow, variant=variant)
    finished = None
    with (
        studiolo.open_workspace() as workspace,
        _connections(workspace, loaded) as connections,
        _progress() as progress,
    ):
        task = progress.add_task(loaded.name, total=None)
        failed = 0
        for event in flows.run(
            workspace,
            loaded,
            data,
            column_mapping=_pairs(column_mapping or []),
            connections=connections,
            name=name,
            concurrency=concurrency,
            resume=resume_from,
        ):
            if isinstance(event, flows.Started):
                progress.update(task, description=event.name, total=event.total, completed=event.kept)
            elif isinstance(event, flows.LineDone):
                failed += event.error is not None
                progress.update(
                    task, advance=1, description=f"{loaded.name}, {failed} failed" if failed else loaded.name
                )
            else:
                finished = event
    assert finished is not None  # noqa: S101 - the last event
    print(json.dumps({"name": finished.name, "run_id": finished.run_id, "completed": finished.completed,
                      "failed": finished.failed, "metrics": dict(finished.metrics)}))  # fmt: skip
    err = Console(stderr=True, highlight=False)
    for problem in finished.problems:
        err.print(f"aggregation: {problem}", style="red", markup=False)
    if finished.failed or finished.problems:
        what = f"{finished.failed} of {finished.completed + finished.failed} lines failed; the rest are kept"
        raise PartialFailure(what, hint=f"studiolo flow show {finished.name}")
    err.print(f"next: studiolo eval score {finished.name} --scorer exact --expected '${{data.…}}'")


@app.command("show")
def show_command(
    run: Annotated[str, typer.Argument(help="The run's name or id.")],
    as_json: AsJson = False,
    limit: Annotated[int, typer.Option(min=1, help="Show this many lines.")] = 20,
) -> None:
    """Show the lines of a run: inputs, outputs, errors."""
    with studiolo.open_workspace() as workspace:
        record = workspace.runs.get(run)
        found = list(flows.lines(record))
    if as_json:
        for line in found:
            print(json.dumps({"line_number": line.number, "status": line.status, "inputs": line.inputs,
                              "outputs": line.outputs, "error": line.error}, ensure_ascii=False))  # fmt: skip
        return
    table = Table("line", "status", "inputs", "outputs", box=None)
    for line in found[:limit]:
        made = line.error or json.dumps(line.outputs, ensure_ascii=False)
        table.add_row(str(line.number), line.status, json.dumps(line.inputs, ensure_ascii=False)[:70], made[:70])
    Console(markup=False).print(table)
    failed = sum(line.status != "Completed" for line in found)
    Console(stderr=True).print(f"{record.name}: {record.status}, {len(found)} lines, {failed} failed", highlight=False)


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the flows that have been run here."""
    with studiolo.open_workspace() as workspace:
        assets = workspace.assets.list("flow")
    if as_json:
        print(json.dumps([{"name": asset.name, "version": asset.version, "digest": asset.digest} for asset in assets]))
        return
    for asset in assets:
        print(f"{asset.name}:{asset.version}  {asset.digest[7:19]}")


@app.command("validate")
def validate_command(flow: FlowPath, variant: Variant = None) -> None:
    """Check a flow: its file, its references, its variants; nothing of it is run."""
    loaded = flows.load(flow, variant=variant)
    order = " → ".join(node.name for node in loaded.nodes)
    print(f"{loaded.file}: valid ({order})")


@contextmanager
def _connections(workspace: Workspace, flow: flows.Flow) -> Iterator[dict[str, Connection]]:
    """Give the local gateway to a flow that asks a model; start one only for such a flow."""
    if not any(node.type == "llm" for node in flow.nodes):
        yield {}
        return
    from serving.local import local_gateway

    with local_gateway(workspace) as gateway:
        yield {"default": Connection.to_gateway(gateway.base_url, gateway.token)}


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TaskProgressColumn(text_format="", show_speed=True),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _pairs(given: list[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Invalid(f"{text!r} is no name=value", hint="for example question='${data.question}'")
        pairs[name] = value
    return pairs


def _inputs(given: list[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for text in given:
        if "=" not in text and text.endswith((".json", ".jsonl")):
            first = Path(text).read_text(encoding="utf-8").strip()
            found |= json.loads(first.splitlines()[0] if text.endswith(".jsonl") else first)
        else:
            found |= _pairs([text])
    return found
