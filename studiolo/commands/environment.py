"""`studiolo environment`: what jobs run in, kept by name and version, and made before the first job needs it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from studiolo import open_workspace
from studiolo.commands.assets import Description, Name, Named, OfFile, Tags, Version, create, shared, tags_of, versioned
from studiolo.commands.changing import Set
from studiolo.commands.formats import Answer
from studiolo.commands.scoring_options import told

app = versioned("environment", "Keep what jobs run in, by name and version.")
shared(app, "environment")


@app.command("create")
def create_command(
    file: OfFile = None,
    name: Named = "",
    version: Version = "",
    image: Annotated[str, typer.Option("--image", "-i", help="The image it starts from.")] = "",
    conda_file: Annotated[str, typer.Option("--conda-file", "-c", help="Python and packages, as conda says it.")] = "",
    build_context: Annotated[str, typer.Option("--build-context", "-b", help="The folder of a Dockerfile.")] = "",
    dockerfile_path: Annotated[str, typer.Option("--dockerfile-path", "-d", help="Where it is in there.")] = "",
    description: Description = "",
    tags: Tags = None,
    set_: Set = None,
) -> Answer:
    """Register an environment, from a file or from options. It is made when a job needs it, or by `build`."""
    given: dict[str, Any] = {
        "name": name, "version": version, "image": image, "conda_file": conda_file, "description": description,
        "tags": tags_of(tags),
    }  # fmt: skip
    if build_context:
        given["build"] = {"path": build_context} | ({"dockerfile_path": dockerfile_path} if dockerfile_path else {})
    return create("environment", file, given, set_)


@app.command("build")
def build_command(name: Name = "", version: Version = "", file: OfFile = None) -> Answer:
    """Make an environment now, of a name or a file, so that no job waits for it; say which Python it has."""
    from studiolo import environment_building

    with open_workspace() as workspace, told() as say:
        wanted = environment_building.wanted(workspace, file=file, name=name, version=version)
        made = None
        for event in environment_building.build(wanted):
            if isinstance(event, str):
                say(event)
            else:
                made = event
    assert made is not None  # noqa: S101 - the last event is what was made
    return Answer(value=made, words="\n".join([str(made["python"]), *made["said"]]))
