"""`studiolo flow init, validate, diff, promote`: flows as files, before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

import studiolo
from studiolo.arguments import pairs
from workspace.errors import Invalid

FlowArgument = Annotated[Path, typer.Option("--flow", "--source", help="The flow folder or file.")]


def init_command(
    flow: Annotated[Path, typer.Option("--flow", help="The folder to make.")],
    type: Annotated[  # noqa: A002
        Literal["standard", "chat", "evaluation", "flex"], typer.Option(help="What to begin with.")
    ] = "standard",
    entry: Annotated[Path | None, typer.Option(help="Begin with this Python file of the folder instead.")] = None,
    function: Annotated[str | None, typer.Option(help="The function in it.")] = None,
    prompt_template: Annotated[
        list[str] | None, typer.Option(help="parameter=file.jinja2: the parameter is this prompt, filled in.")
    ] = None,
) -> None:
    """Make a new flow: a copy of a starter, or one around a function that is there already."""
    from flows import new_flow

    if (entry is None) != (function is None):
        raise Invalid("--entry and --function belong together")
    if entry is None and prompt_template:
        raise Invalid("--prompt-template needs --entry and --function")
    if entry is not None and function is not None:
        templates = pairs(prompt_template, example="prompt=ask.jinja2")
        made = new_flow.around(flow, entry, function, {name: Path(path) for name, path in templates.items()})
    else:
        made = new_flow.copy(type, flow)
    for path in made:
        print(path)
    rows = next((path for path in made if path.name == "data.jsonl"), None)
    how = " --interactive" if type == "chat" else f" --inputs {rows}" if rows else " --inputs …"
    typer.echo(f"next: studiolo flow test --flow {flow}{how}", err=True)
    if rows:
        typer.echo(f"then: studiolo flow run --flow {flow} --data {rows}", err=True)


def validate_command(
    flow: FlowArgument,
    variant: Annotated[str | None, typer.Option(help="Look at this variant alone, as node.variant.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say all that is wrong with a flow, each with its line. Nothing of the flow runs."""
    from flows import check
    from studiolo.plain import plain

    found = check.problems(flow, variant=variant)
    errors = sum(problem.severity == "error" for problem in found)
    if as_json:
        print(json.dumps(plain(found), indent=2, ensure_ascii=False))
    else:
        for problem in found:
            typer.secho(str(problem), fg="red" if problem.severity == "error" else "yellow")
            if problem.hint:
                typer.echo(f"  hint: {problem.hint}")
    if errors:
        raise Invalid(f"{errors} error{'s' * (errors > 1)} in {flow}", hint="each is named above with its line")
    if not as_json:
        warnings = len(found)
        print(f"{flow}: nothing is wrong" if not warnings else f"{flow}: it runs; {warnings} to look at")
        typer.echo(f"next: studiolo flow test --flow {flow} --inputs …", err=True)


def diff_command(
    before: Annotated[Path, typer.Argument(help="A flow folder or file.")],
    after: Annotated[Path, typer.Argument(help="Another, or the same later.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what differs between two flows: nodes, parameters, prompts and code; order and comments are nothing."""
    from flows import diff
    from studiolo.plain import plain

    changes = diff.compare(before, after)
    if as_json:
        print(json.dumps(plain(changes), indent=2, ensure_ascii=False))
        return
    if not changes:
        print("the flows mean the same")
    for line in diff.told(changes):
        text = line.lstrip()
        color = {"+": "green", "-": "red"}.get(text[:1]) if not text.startswith(("+++", "---")) else None
        typer.secho(line, fg=color)


def promote_command(
    flow: Annotated[str, typer.Argument(help="NAME, NAME:VERSION or NAME@LABEL of a kept flow, or a folder.")],
    to: Annotated[str, typer.Option("--to", help="The label, as prod.")],
) -> None:
    """Give a version of a flow a label; `flow:NAME@LABEL` is then that version wherever a flow is named."""
    with studiolo.open_workspace() as workspace:
        asset = studiolo.promote(workspace, flow, to)
    print(f"{asset.name}@{to} is version {asset.version} ({asset.digest[:19]})")
    typer.echo(f"next: studiolo flow serve --source flow:{asset.name}@{to}", err=True)
