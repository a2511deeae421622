"""`studiolo flow`: try a flow, run it over rows, decide what it waits for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import flows
import studiolo
from studiolo.arguments import pairs
from studiolo.commands import flow_files, flow_runs
from studiolo.commands.flow_progress import follow
from studiolo.commands.flow_serve import build_command, serve_command
from workspace.errors import Invalid, PartialFailure, StudioloError

if TYPE_CHECKING:
    from workspace import Workspace

app = typer.Typer(help="Test, run, serve, compare and check prompt flows.")

FlowPath = Annotated[str, typer.Option("--flow", help="The flow folder or file, or module:function.")]
Variant = Annotated[str | None, typer.Option(help="Use this variant, as node.variant.")]
Inputs = Annotated[list[str] | None, typer.Option(help="name=value …, or a JSON file.")]
Variables = Annotated[
    list[str] | None, typer.Option("--environment-variables", help="NAME=value …, or a .env file; for the flow's code.")
]
Init = Annotated[list[str] | None, typer.Option(help="name=value … with which a flex flow's class is made.")]
Pins = Annotated[list[str] | None, typer.Option("--pin", help="node=value: use this output, do not run the node.")]
Record = Annotated[Path | None, typer.Option(help="Keep the answers of models in this cassette.")]
Replay = Annotated[Path | None, typer.Option(help="Answer from this cassette; no model is asked.")]
Trace = Annotated[str | None, typer.Option(help="Send the trace on: mlflow or otlp.")]
OUTPUT_WIDTH = 100


@app.command("test")
def test_command(
    flow: FlowPath,
    inputs: Inputs = None,
    node: Annotated[str | None, typer.Option(help="Run this node alone.")] = None,
    variant: Variant = None,
    interactive: Annotated[bool, typer.Option("--interactive", help="Talk to a chat flow.")] = False,
    ui: Annotated[bool, typer.Option("--ui", help="Open the flow in the browser studio.")] = False,
    environment_variables: Variables = None,
    init: Init = None,
    pin: Pins = None,
    record: Record = None,
    replay: Replay = None,
    trace: Trace = None,
    detail: Annotated[Path | None, typer.Option(help="Write what each node did into this folder.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show each node's inputs as well.")] = False,
) -> None:
    """Run a flow once: outputs as JSON on standard output, the nodes on standard error."""
    if ui:
        _open_page(flow)
        return
    _check_trace(trace)
    workers = None if interactive else flows.Crew()
    from studiolo import flow_tests

    with flow_tests.prepared(
        flow, variant=variant, pins=values(pin), environment=variables(environment_variables), init=values(init),
        cassette=cassette(record, replay),
    ) as ready:  # fmt: skip
        if interactive:
            from studiolo.commands.flow_chat import converse

            converse(ready, read_inputs(inputs), verbose=verbose, trace=trace)
            return
        result = flow_tests.once(ready, read_inputs(inputs), node=node, workers=workers, trace=trace)
        if detail is not None:
            flow_tests.write_detail(result, detail)
    _print_nodes(result, verbose=verbose)
    if result.error:
        raise StudioloError(result.error, hint=f"the flow is {ready.flow.file}")
    if waits := [each.name for each in result.nodes if each.status == "Waiting"]:
        hint = f"decide for it: --pin {waits[0]}='{{\"approved\": true}}'"
        raise PartialFailure(f"the flow waits for a person at {waits[0]!r}", hint=hint)
    made = result.outputs["output"] if node else {**result.outputs}
    print(json.dumps({**made, "metrics": result.metrics} if result.metrics and not node else made, ensure_ascii=False))


@app.command("run")
def run_command(
    flow: Annotated[str | None, typer.Option(help="The flow folder or file.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="The rows: .jsonl, .json, .csv, .tsv, .parquet, or a folder.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="A run YAML; options go over it.")] = None,
    run: Annotated[str | None, typer.Option(help="Run over the inputs and outputs of this run.")] = None,
    column_mapping: Annotated[list[str] | None, typer.Option(help="input='${data.column}' …")] = None,
    variant: Variant = None,
    name: Annotated[str | None, typer.Option(help="What to call the run.")] = None,
    resume_from: Annotated[
        str | None, typer.Option(help="Keep the completed lines of this run, run the others.")
    ] = None,
    connections: Annotated[list[str] | None, typer.Option(help="node.connection=name, node.model=name …")] = None,
    environment_variables: Variables = None,
    init: Init = None,
    pin: Pins = None,
    record: Record = None,
    replay: Replay = None,
    trace: Trace = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes: more for tools that compute.")] = None,
    compute: Annotated[
        str, typer.Option(help="A Ray cluster that runs the lines: ray, ray://HOST:10001, azureml:NAME.")
    ] = "",
    concurrency: Annotated[int | None, typer.Option(min=1, help="Lines at the same time in each worker.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds for the whole run.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print what the flow's code prints.")] = False,
) -> None:
    """Run a flow over rows. A row that fails is recorded and the rest go on; the exit code is then 3."""
    _check_trace(trace)
    crew = None if compute else flows.Crew(workers or 1)  # they start up while we read and look
    from studiolo import flow_batches

    asked = flow_batches.Asked(
        flow=flow, data=data, file=file, run=run, mapping=pairs(column_mapping), variant=variant, name=name,
        resume=resume_from, connections=pairs(connections, example="ask.connection=mine"),
        environment=variables(environment_variables), init=values(init), pins=values(pin),
        cassette=cassette(record, replay), workers=workers, compute=compute, concurrency=concurrency, timeout=timeout,
        traces=trace is not None,
    )  # fmt: skip
    with studiolo.open_workspace() as workspace:
        finished = follow(flow_batches.run(workspace, asked, crew))
        if stream:
            _print_output(workspace, finished)
        if trace:
            sent = flow_batches.send_trace(workspace, finished.run_id, to=trace)
            typer.echo(f"{sent} lines sent to {trace}", err=True)
    _print_finished(finished)


@app.command("approve")
def approve_command(
    run: Annotated[str, typer.Argument(help="The run that waits.")],
    node: Annotated[str | None, typer.Option(help="The node that asks; needed where several do.")] = None,
    line: Annotated[int | None, typer.Option(min=0, help="This line alone; else all that wait.")] = None,
    no: Annotated[bool, typer.Option("--no", help="Refuse.")] = False,
    comment: Annotated[str, typer.Option(help="What the nodes after it may read.")] = "",
    show: Annotated[bool, typer.Option("--list", help="Only show what waits.")] = False,
) -> None:
    """Decide what a paused run waits for; `flow run --resume-from` then goes on with it."""
    from studiolo import flow_batches

    with studiolo.open_workspace() as workspace:
        if show:
            for question in flow_batches.questions(workspace, run):
                print(json.dumps({"line": question.line, "node": question.node, **question.shown}, ensure_ascii=False))
            return
        decided = flow_batches.decide(workspace, run, node=node, line=line, approved=not no, comment=comment)
    typer.echo(f"{decided} decided", err=True)
    typer.echo(f"next: studiolo flow resume {run}", err=True)


@app.command("resume")
def resume_command(run: Annotated[str, typer.Argument(help="The run to go on with.")]) -> None:
    """Go on with a run that was paused, killed or failed, as it was asked for."""
    crew = flows.Crew()
    from studiolo import flow_batches

    with studiolo.open_workspace() as workspace:
        finished = follow(flow_batches.resume(workspace, run, crew))
    _print_finished(finished)


def values(given: list[str] | None) -> dict[str, Any]:
    """Return `name=value` texts with values read as JSON where they are; `name=@file.json` reads a file."""
    found: dict[str, Any] = {}
    for text in given or []:
        if "=" not in text and text.endswith(".json"):
            found |= json.loads(_read(Path(text)))
            continue
        for name, value in pairs([text]).items():
            raw = _read(Path(value[1:])) if value.startswith("@") else value
            try:
                found[name] = json.loads(raw)
            except ValueError:
                found[name] = raw
    return found


def variables(given: list[str] | None) -> dict[str, str]:
    """Return variables for the flow's code from `NAME=value` texts and .env files."""
    found: dict[str, str] = {}
    for text in given or []:
        if "=" in text:
            found |= pairs([text])
            continue
        for number, line in enumerate(_read(Path(text)).splitlines(), 1):
            stated = line.strip().removeprefix("export ")
            if not stated or stated.startswith("#"):
                continue
            name, equals, value = stated.partition("=")
            if not equals:
                raise Invalid(f"{text}:{number}: expected NAME=value")
            found[name.strip()] = value.strip().strip("'\"")
    return found


def read_inputs(given: list[str] | None) -> dict[str, Any]:
    """Return a flow's inputs from `name=value` texts and JSON files (of .jsonl the first line)."""
    found: dict[str, Any] = {}
    for text in given or []:
        if "=" not in text and text.endswith((".json", ".jsonl")):
            first = _read(Path(text)).strip()
            try:
                found |= json.loads(first.splitlines()[0] if text.endswith(".jsonl") else first)
            except (ValueError, TypeError, IndexError) as error:
                raise Invalid(f"{text} holds no JSON object: {error}") from None
        else:
            found |= pairs([text], example="question='How far is it?'")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise Invalid(f"cannot read {str(path)!r}: {error.strerror}", hint="check the path") from None


def _check_trace(to: str | None) -> None:
    if to is not None:
        from studiolo import traces

        traces.check(to)


def cassette(record: Path | None, replay: Path | None) -> tuple[Path, str] | None:
    """Return what `--record` and `--replay` ask for, of which one at most may be given."""
    if record and replay:
        raise Invalid("--record and --replay exclude each other")
    return (record, "record") if record else (replay, "replay") if replay else None


def _print_finished(finished: flows.Finished) -> None:
    shown = {"name": finished.name, "run_id": finished.run_id, "completed": finished.completed,
             "failed": finished.failed, "metrics": dict(finished.metrics)}  # fmt: skip
    print(json.dumps(shown | ({"waiting": finished.waiting} if finished.waiting else {})))
    for problem in finished.problems:
        typer.secho(f"aggregation: {problem}", fg="red", err=True)
    if finished.failed or finished.problems:
        what = f"{finished.failed} of {finished.completed + finished.failed} lines failed; the rest are kept"
        raise PartialFailure(what, hint=f"studiolo flow show {finished.name}")
    if finished.waiting:
        typer.echo(f"{finished.waiting} lines wait for a person", err=True)
        typer.echo(f"next: studiolo flow approve {finished.name} --list", err=True)
        return
    typer.echo(f"next: studiolo eval score {finished.name} --scorer exact --expected '${{data.…}}'", err=True)


def _print_nodes(result: flows.FlowResult, *, verbose: bool) -> None:
    for node in result.nodes:
        tokens = f", {sum(node.tokens)} tokens" if any(node.tokens) else ""
        cost = f", ${node.cost:.6f}" if node.cost else ""
        seconds = node.ended_at - node.started_at
        typer.secho(
            f"{node.name}: {node.status} in {seconds:.2f} s{tokens}{cost}", fg="red" if node.error else None, err=True
        )
        if verbose:
            typer.echo(f"  ← {json.dumps(dict(node.inputs), ensure_ascii=False, default=repr)}", err=True)
        said = node.error or json.dumps(node.output, ensure_ascii=False, default=repr)
        shown = said if verbose or len(said) <= OUTPUT_WIDTH else f"{said[:OUTPUT_WIDTH]}…"
        typer.echo(f"  {shown}", err=True)


def _print_output(workspace: Workspace, finished: flows.Finished) -> None:
    log = workspace.runs.get(finished.run_id).directory / "worker.log"
    if log.exists():
        typer.echo(log.read_text(encoding="utf-8", errors="replace"), err=True, nl=False)


def _open_page(flow: str) -> None:
    from studiolo import flow_tests

    address = flow_tests.page(flow)
    typer.echo(address)
    if sys.stdout.isatty():
        typer.launch(address)


app.command("show")(flow_runs.show_command)
app.command("details")(flow_runs.details_command)
app.command("metrics")(flow_runs.metrics_command)
app.command("list")(flow_runs.list_command)
app.command("archive")(flow_runs.archive_command)
app.command("restore")(flow_runs.restore_command)
app.command("delete")(flow_runs.delete_command)
app.command("visualize")(flow_runs.visualize_command)
app.command("init")(flow_files.init_command)
app.command("validate")(flow_files.validate_command)
app.command("diff")(flow_files.diff_command)
app.command("promote")(flow_files.promote_command)
app.command("serve")(serve_command)
app.command("build")(build_command)
