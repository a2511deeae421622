"""`studiolo pf`: prompt flow's own command lines, word for word, on this workspace."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import typer

from studiolo.commands import pf_config, pf_connection, pf_flow, pf_run, pf_tool

Handler = Callable[[argparse.Namespace], int | None]

GROUPS = {
    "flow": (pf_flow.add, "init, test, serve, build, validate and save flows"),
    "run": (pf_run.add, "run flows over rows and look at runs"),
    "connection": (pf_connection.add, "keep connections"),
    "tool": (pf_tool.add, "make, list and check tools"),
    "config": (pf_config.add, "set and show settings"),
}
GONE = {
    "service": "nothing has to be started: `studiolo up` starts the studio",
    "trace": "traces are kept with their runs: `studiolo pf run delete`",
    "upgrade": "pip install --upgrade studiolo",
    "experiment": "use `studiolo flow run` and `studiolo eval`",
}


def pf(ctx: typer.Context) -> None:
    """Take prompt flow's own command lines: pf flow | run | connection | tool | config.

    A run that failed, or that has a failed line, ends with exit code 1.
    """
    code = main(ctx.args)
    if code:
        raise typer.Exit(code)


# What follows is prompt flow's to read, its --help too.
pf.context_settings = {  # type: ignore[attr-defined]
    "allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": [],
}  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    if arguments and arguments[0] in GONE:
        print(f"`pf {arguments[0]}` does nothing here: {GONE[arguments[0]]}", file=sys.stderr)
        return 0
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.version:
        from importlib.metadata import version

        print(f"studiolo {version('studiolo')}, in the place of promptflow 1.18.5")
        return 0
    handler: Handler | None = getattr(given, "handler", None)
    if handler is None:
        given.parser.print_help()
        return 2
    return handler(given) or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="studiolo pf", description="Prompt flow's command lines.", allow_abbrev=False)
    parser.add_argument("-v", "--version", action="store_true", help="show whose place this takes")
    parser.set_defaults(parser=parser)
    groups = parser.add_subparsers(metavar="{" + ",".join(GROUPS) + "}")
    for name, (add, help_text) in GROUPS.items():
        group = groups.add_parser(name, help=help_text, description=help_text, allow_abbrev=False)
        group.set_defaults(parser=group)
        commands: Any = group.add_subparsers()
        add(commands)
    return parser
