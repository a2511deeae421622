"""Where a command leaves its outputs, and its text with the places of inputs and outputs in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jobs.spec import BoundOutput
from workspace.paths import writing


def lay_outputs(outputs: Mapping[str, BoundOutput], folder: Path) -> dict[str, str]:
    """Make the places of outputs: a folder each, or what a file lies in; return them by name."""
    found = {}
    with writing(folder):
        for name, output in outputs.items():
            place = folder / name
            (place.parent if output.type == "uri_file" else place).mkdir(parents=True, exist_ok=True, mode=0o700)
            found[name] = str(place)
    return found


def placed(command: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> str:
    """Return a command with its places: `placed("cat ${{inputs.x}}", {"x": "/x"}, {}) == "cat /x"`."""
    for side, values in (("inputs", inputs), ("outputs", outputs)):
        for name, value in values.items():
            command = command.replace(f"${{{{{side}.{name}}}}}", value)
    return command
