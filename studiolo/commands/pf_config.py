"""`studiolo pf config`: settings by their dotted names."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from studiolo import pf_config
from studiolo.arguments import pairs
from studiolo.commands.pf_options import command, print_json
from workspace.paths import writing
from workspace.settings import Settings


def add(commands: Any) -> None:
    """Add the commands of the group."""
    put = command(commands, "set", "set settings", _set)
    put.add_argument("params", nargs="+", metavar="KEY=VALUE")
    put.add_argument("--path", type=Path, help="write the pf.yaml of this folder instead")
    command(commands, "show", "show all settings", _show)


def _set(given: argparse.Namespace) -> None:
    values = pairs(given.params, example="run.output_path='${flow_directory}/../runs'")
    pf_config.put(_home(), values, folder=given.path)
    print(f"Set config [{values}] successfully.")


def _show(_given: argparse.Namespace) -> None:
    print_json(pf_config.load(_home(), start=Path.cwd()))


def _home() -> Path:
    home = Settings.from_environment().home.expanduser().absolute()
    with writing(home):
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return home
