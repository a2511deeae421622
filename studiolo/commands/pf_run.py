"""`studiolo pf run`: create runs, follow them, show them, put them away."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import flows
from studiolo import open_workspace, pf_runs, run_keeping
from studiolo.arguments import pairs
from studiolo.commands.pf_options import command, print_grid, print_json, several, values, variables
from workspace import Workspace
from workspace.errors import Invalid

_LISTED = 50
_SHOWN = 100


def add(commands: Any) -> None:
    """Add the commands of the group."""
    create = command(commands, "create", "run a flow over rows", _create)
    create.add_argument("-f", "--file", type=Path, help="a run YAML")
    create.add_argument("-s", "--stream", action="store_true", help="print what the flow's code prints")
    create.add_argument("--flow", help="the flow folder or file, or module:name")
    create.add_argument("--variant", help="${node.variant}")
    create.add_argument("--run", help="an earlier run whose inputs and outputs are rows as well")
    create.add_argument("-n", "--name", help="what to call it")
    create.add_argument("--data", type=Path, help="the rows")
    create.add_argument("--resume-from", help="keep the completed lines of this run, run the others")
    create.add_argument("--source", type=Path, help="a run folder made here before")
    create.add_argument("--node-artifacts", action="store_true", help="write one file per node and line as well")
    several(create, "--column-mapping", "input='${data.column}' …")
    several(create, "--environment-variables", "NAME=value … or a .env file", none=True)
    several(create, "--connections", "node.connection=name …")
    several(create, "--init", "name=value … for a flex class, or a .json file")
    several(create, "--set", "display_name=… description=… tags.key=…", dest="params")

    update = _named(commands, "update", "change the words about a run", _update)
    several(update, "--set", "display_name=… description=… tags.key=…", dest="params")
    _named(commands, "stream", "print what a run's code prints until it is over", _stream)
    _named(commands, "show", "show a run", _show)
    details = _named(commands, "show-details", "show inputs and outputs, line by line", _show_details)
    details.add_argument("-r", "--max-results", type=int, default=_SHOWN, help="lines at most")
    details.add_argument("--all-results", action="store_true", help="all lines")
    _named(commands, "show-metrics", "show what the flow has measured", _show_metrics)
    _named(commands, "archive", "put a run away", _archive)
    _named(commands, "restore", "take a run out of the archive", _restore)
    delete = _named(commands, "delete", "delete a run for good", _delete)
    delete.add_argument("-y", "--yes", action="store_true", help="do not ask")
    visualize = command(commands, "visualize", "draw runs as one HTML page", _visualize)
    visualize.add_argument("-n", "--names", required=True, help="names, with commas between them")
    listed = command(commands, "list", "list runs", _list)
    listed.add_argument("-r", "--max-results", type=int, default=_LISTED, help="runs at most")
    listed.add_argument("--all-results", action="store_true", help="all runs")
    listed.add_argument("--archived-only", action="store_true", help="those in the archive")
    listed.add_argument("--include-archived", action="store_true", help="those in the archive as well")
    listed.add_argument("-o", "--output", choices=("json", "table"), default="json")


def _named(commands: Any, name: str, help_text: str, handler: Any) -> Any:
    parser = command(commands, name, help_text, handler)
    parser.add_argument("-n", "--name", required=True, help="the run's name")
    return parser


def _create(given: argparse.Namespace) -> int:
    from studiolo.flow_batches import Asked

    said = _said(given.params)
    asked, warnings = pf_runs.asked_for(
        Asked(
            flow=given.flow, data=given.data or said.pop("data", None), file=given.file, run=given.run,
            mapping=values(given.column_mapping), variant=given.variant, name=given.name or said.pop("name", None),
            resume=given.resume_from, connections=pairs(given.connections, example="ask.connection=mine"),
            environment=variables(given.environment_variables), init=values(given.init), tags=said.pop("tags", {}),
        ),
        display_name=said.pop("display_name", None),
        description=said.pop("description", None),
    )  # fmt: skip
    if said:
        raise Invalid(f"--set cannot change {next(iter(said))!r}", hint="display_name, description, tags.KEY")
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    with open_workspace() as workspace:
        return _conduct(workspace, asked, given)


def _conduct(workspace: Workspace, asked: Any, given: argparse.Namespace) -> int:
    from studiolo.commands.flow_progress import follow

    finished = follow(pf_runs.run(workspace, asked))
    made = pf_runs.get(workspace, finished.run_id)
    assert made.record is not None  # noqa: S101 - it was just on record
    if given.node_artifacts:
        pf_runs.write_files(workspace, made.record, node_artifacts=True)
    if given.stream:
        pf_runs.follow(workspace, finished.run_id, say=lambda text: print(text, end=""))
        print(pf_runs.summary(made))
    print_json(made.shown())
    return _code(finished, made)


def _code(finished: flows.Finished, made: pf_runs.Run) -> int:
    for problem in finished.problems:
        print(f"aggregation: {problem}", file=sys.stderr)
    if finished.failed:
        total = finished.failed + finished.completed
        print(f"{finished.failed} out of {total} runs failed in batch run.", file=sys.stderr)
        print(f" Please check out {made.output_path} for more details.", file=sys.stderr)
    return 1 if finished.failed or finished.problems or made.status == "Failed" else 0


def _update(given: argparse.Namespace) -> None:
    said = _said(given.params)
    known = {key: said.pop(key, None) for key in ("display_name", "description", "tags")}
    if said:
        raise Invalid(f"--set cannot change {next(iter(said))!r}", hint="display_name, description, tags.KEY")
    with open_workspace() as workspace:
        print_json(pf_runs.update(workspace, given.name, **known).shown())


def _stream(given: argparse.Namespace) -> int:
    with open_workspace() as workspace:
        pf_runs.get(workspace, given.name)
        made = pf_runs.follow(workspace, given.name, say=lambda text: print(text, end=""))
        print(pf_runs.summary(made))
    return 1 if made.status == "Failed" else 0


def _show(given: argparse.Namespace) -> None:
    with open_workspace() as workspace:
        print_json(pf_runs.get(workspace, given.name).shown())


def _show_details(given: argparse.Namespace) -> None:
    with open_workspace() as workspace:
        made = pf_runs.get(workspace, given.name)
        assert made.record is not None  # noqa: S101 - it is on record
        print_grid(*pf_runs.details(made.record, limit=None if given.all_results else given.max_results))


def _show_metrics(given: argparse.Namespace) -> None:
    from flows import export

    with open_workspace() as workspace:
        print_json(export.metrics(workspace.runs.get(given.name)))


def _archive(given: argparse.Namespace) -> None:
    with open_workspace() as workspace:
        pf_runs.get(workspace, given.name)
        print_json(pf_runs.Run.of(run_keeping.archive(workspace, given.name)).shown())


def _restore(given: argparse.Namespace) -> None:
    with open_workspace() as workspace:
        pf_runs.get(workspace, given.name)
        print_json(pf_runs.Run.of(run_keeping.restore(workspace, given.name)).shown())


def _delete(given: argparse.Namespace) -> int:
    with open_workspace() as workspace:
        found = pf_runs.get(workspace, given.name)
        if not given.yes and sys.stdin.isatty():
            answer = input(f"Delete run {found.name} and its files for good? [y/N] ")
            if answer.strip().casefold() not in ("y", "yes"):
                return 1
        pf_runs.delete(workspace, given.name)
    return 0


def _visualize(given: argparse.Namespace) -> None:
    with open_workspace() as workspace:
        print(pf_runs.visualize(workspace, [name.strip() for name in given.names.split(",") if name.strip()]))


def _list(given: argparse.Namespace) -> None:
    with open_workspace() as workspace:
        found = pf_runs.list_runs(
            workspace,
            limit=None if given.all_results else given.max_results,
            archived=given.archived_only or given.include_archived,
            active=not given.archived_only,
        )
        shown = [each.shown(errors=False) for each in found]
    if given.output == "json":
        print_json(shown)
        return
    columns = list(dict.fromkeys(key for row in shown for key in row))
    print_grid(columns, [[row.get(column) for column in columns] for row in shown])


def _said(params: list[str] | None) -> dict[str, Any]:
    """Return what `--set` says: `tags.a=b` goes under tags."""
    found: dict[str, Any] = {}
    for key, value in pairs(params, example="display_name='My run'").items():
        first, dot, rest = key.partition(".")
        if dot and first == "tags":
            found.setdefault("tags", {})[rest] = value
        elif key == "data":
            found["data"] = Path(value)
        else:
            found[key] = value
    return found
