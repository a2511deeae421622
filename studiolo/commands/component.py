"""`studiolo component`: steps of pipelines, kept by name and version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studiolo import open_workspace
from studiolo.commands.assets import COLUMNS, Named, OfFile, Version, create, versioned
from studiolo.commands.changing import Set, sets
from studiolo.commands.formats import Answer
from workspace.errors import Invalid, NotFound, did_you_mean

app = versioned("component", "Keep components, the steps of pipelines, by name and version.")


@app.command("create")
def create_command(file: OfFile = None, name: Named = "", version: Version = "", set_: Set = None) -> Answer:
    """Register the component of a file with its code; the same content again is the same version."""
    return create("component", file, {"name": name, "version": version}, set_)


@app.command("validate")
def validate_command(
    file: Annotated[Path, typer.Option("--file", "-f", help="The component's file.")], set_: Set = None
) -> Answer:
    """Check a component's file and register nothing; exit with 1 where it cannot be right."""
    from jobs.files import read_component

    try:
        found = read_component(file, sets(set_))
    except Invalid as problem:
        told = {"message": str(problem), "location": str(problem.at or file), "hint": problem.hint}
        value = {"result": "Failed", "errors": [told], "warnings": []}
        return Answer(value=value, words="Failed", failure=problem)
    warnings = [{"message": each.what, "location": str(each.at)} for each in found.findings]
    words = "\n".join(["Succeeded", *(f"{each.weight}: {each}" for each in found.findings)])
    return Answer(value={"result": "Succeeded", "errors": [], "warnings": warnings}, words=words)


@app.command("install-pack")
def install_pack_command(
    names: Annotated[list[str] | None, typer.Argument(help="Which of them; all where none is named.")] = None,
) -> Answer:
    """Register the components that come with Studiolo: split, clean, encode, train, score, evaluate."""
    from finetune import components
    from jobs import assets

    known = components.names()
    for name in names or ():
        if name not in known:
            raise NotFound(f"no component {name!r} in the pack", hint=did_you_mean(name, known))
    with open_workspace() as workspace:
        made = [assets.create(workspace, "component", components.file(name)) for name in names or known]
    return Answer(value=made, columns=COLUMNS["component"], next=f"studiolo component show -n {made[0]['name']}")


@app.command("pack")
def pack_command() -> Answer:
    """List the components that come with Studiolo, whether they are registered or not."""
    from finetune import components
    from jobs.files import read_component

    told = [read_component(components.file(name)) for name in components.names()]
    rows = [{"name": each.name, "display_name": each.display_name, "description": each.description} for each in told]
    return Answer(value=rows, columns=("name", "display_name", "description"), next="studiolo component install-pack")
