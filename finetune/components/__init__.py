"""Ready components for tables, texts and pictures. Each is a file NAME.yaml and its script NAME.py."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of the components of the pack."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def file(name: str) -> Path:
    """Return the file of a component."""
    return FOLDER / f"{name}.yaml"
