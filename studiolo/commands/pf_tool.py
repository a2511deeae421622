"""`studiolo pf tool`: make, list and check tools."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from studiolo import tool_shelf
from studiolo.arguments import pairs
from studiolo.commands.pf_options import command, print_json, several


def add(commands: Any) -> None:
    """Add the commands of the group."""
    init = command(commands, "init", "make a tool, or a package of tools", _init)
    init.add_argument("--package", help="the package; made where it is not there")
    init.add_argument("--tool", required=True, help="the tool")
    several(init, "--set", "icon=… category=… tags=…", dest="params")
    listed = command(commands, "list", "list the tools of packages, and of a flow", _list)
    listed.add_argument("--flow", help="the flow folder")
    validate = command(commands, "validate", "check tools", _validate)
    validate.add_argument("--source", required=True, help="a file, a package, or package.module.function")


def _init(given: argparse.Namespace) -> None:
    print("Creating tool from scratch...")
    extra = pairs(given.params, example="category=search")
    folder = Path.cwd()
    for file in tool_shelf.make(folder, given.tool, package=given.package, extra=extra):
        print(f"Creating {file}...")
    where = folder / given.package / given.package if given.package else folder
    print(f'Done. Created the tool "{given.tool}" in {where}.')


def _list(given: argparse.Namespace) -> None:
    print_json(tool_shelf.list_tools(Path(given.flow) if given.flow else None))


def _validate(given: argparse.Namespace) -> int:
    found = tool_shelf.check(given.source)
    print_json(found)
    return 1 if found["invalid_count"] else 0
