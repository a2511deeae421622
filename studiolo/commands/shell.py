"""`studiolo shell`: a shell in which `az` is this workspace, so that scripts written for Azure run line by line."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from studiolo import open_workspace
from workspace.paths import write_atomically
from workspace.settings import variable

AZ = """#!/bin/sh
# Made by `studiolo shell`: command lines written for Azure's, on this workspace.
exec {python} -P -m studiolo az "$@"
"""


def shell(
    print_: Annotated[bool, typer.Option("--print", help='For this shell: eval "$(studiolo shell --print)".')] = False,
) -> None:
    """Open a shell in which `az` works on this workspace: `az ml job create -f job.yml`."""
    with open_workspace() as workspace:
        home = workspace.home
    folder = home / "shell"
    folder.mkdir(mode=0o700, exist_ok=True)
    script = folder / "az"
    write_atomically(script, AZ.format(python=shlex.quote(sys.executable)))
    script.chmod(0o700)
    if print_:
        print(f"export {variable('home')}={shlex.quote(str(home))}")
        print(f'export PATH={shlex.quote(str(folder))}:"$PATH"')
        return
    os.environ[variable("home")] = str(home)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"
    program = os.environ.get("SHELL") or "/bin/sh"
    typer.echo(f"`az` is {script} in this shell; `exit` leaves it", err=True)
    os.execv(program, [Path(program).name])  # noqa: S606  the person's own shell, in place of this process
