"""`studiolo model`: models by name and version. `studiolo models` prepares those that come with Studiolo."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from studiolo import open_workspace
from studiolo.commands.assets import Description, Name, Named, OfFile, Tags, Version, create, shared, tags_of, versioned
from studiolo.commands.changing import Set
from studiolo.commands.formats import Answer

app = versioned("model", "Keep models by name and version.")
shared(app, "model")


@app.command("create")
def create_command(
    file: OfFile = None,
    name: Named = "",
    version: Version = "",
    path: Annotated[str, typer.Option("--path", "-p", help="A file or folder here, or a job's output.")] = "",
    type_: Annotated[str, typer.Option("--type", "-t", help="custom_model, mlflow_model or triton_model.")] = "",
    stage: Annotated[str, typer.Option("--stage", "-s", help="How far it has come.")] = "",
    description: Description = "",
    tags: Tags = None,
    set_: Set = None,
) -> Answer:
    """Register a model, from a file or from options; the same content again is the same version."""
    given = {
        "name": name, "version": version, "path": path, "type": type_, "stage": stage, "description": description,
        "tags": tags_of(tags),
    }  # fmt: skip
    return create("model", file, given, set_)


@app.command("promote")
def promote_command(
    name: Annotated[str, typer.Argument(help="NAME or NAME:VERSION.")],
    label: Annotated[str, typer.Option(help="The label that it gets; another version loses it.")] = "champion",
    reason: Annotated[str | None, typer.Option(help="Why it may be champion without a card; audited.")] = None,
) -> Answer:
    """Give a version of a model a label: `champion` needs a report card that was passed (`studiolo eval card`)."""
    from evals import report_card

    with open_workspace() as workspace:
        asset = report_card.promote(workspace, workspace.assets.get("model", name), label, reason=reason)
    return Answer(value={"model": asset.ref, "labels": list(asset.labels)}, words=f"{asset.ref} is @{label}")


@app.command("download")
def download_command(
    name: Name,
    version: Version = "",
    path: Annotated[Path, typer.Option("--download-path", "-p", help="The folder that gets it.")] = Path(),
) -> Answer:
    """Copy a model into a folder named after it."""
    with open_workspace() as workspace:
        asset = workspace.assets.get("model", f"{name}:{version}" if version else name)
        source, target = workspace.assets.path(asset), path / asset.name
        target.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target / source.name)
    return Answer(value=str(target), words=str(target))
