"""Where the catalog of a workspace lies, and what this machine has room for."""

from __future__ import annotations

from pathlib import Path

from workspace.environment import hardware
from workspace.home import Workspace

_FOR_THE_REST = 0.75  # of the memory; the rest is for context, activations and what else runs


def folder(workspace: Workspace) -> Path:
    """Return the folder of the catalog's snapshots."""
    return workspace.home / "catalog"


def room_for_weights() -> float:
    """Return how many bytes of weights this machine can hold: in its largest GPU, or else in its memory."""
    machine = dict(hardware())
    cards = [gpu["memory"] for gpu in machine["gpus"] if gpu.get("memory")]
    memory = max(cards, default=machine["memory"] or 0)
    return float(memory) * _FOR_THE_REST
