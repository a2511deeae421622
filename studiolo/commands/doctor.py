"""`studiolo doctor`: what is well here and what is not."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console

from studiolo.doctor import examine
from studiolo.plain import plain
from workspace.settings import Settings

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check this machine and this workspace, a line each; exit code 1 where something will not work."""
    checks = []
    console = Console(highlight=False, soft_wrap=True)
    for check in examine(Settings.from_environment()):
        checks.append(check)
        if as_json:
            continue
        console.print(f"[{STYLES[check.status]}]{check.status:<5}[/]", end="")
        console.print(f"{check.name:<12} {check.message}", markup=False)
        if check.hint:
            console.print(f"{'':17} → {check.hint}", markup=False, style="dim")
    if as_json:
        print(json.dumps(plain(checks), indent=2))
    raise typer.Exit(1 if any(check.status == "fail" for check in checks) else 0)
