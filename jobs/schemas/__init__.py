"""JSON Schemas of job files and of all files beside them, so that editors complete and explain.

They are made of the readers' own tables of keys: the fields of the dataclasses in `jobs.files`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jobs.files.kinds import COMPONENT, JOB, KINDS
from jobs.files.shapes import Definitions, Shape

FOLDER = Path(__file__).parent
# What a schema is called, and the shape of the files that it describes.
SHAPES: dict[str, Shape] = {
    **{f"job.{kind}": shape for kind, shape in JOB.kinds.items()},
    **{f"component.{kind}": shape for kind, shape in COMPONENT.kinds.items()},
    # `connection` is what flows have; Azure ML calls this one a workspace connection too.
    **{
        {"connection": "workspace_connection"}.get(kind, kind): shape
        for kind, shape in KINDS.items()
        if kind not in ("job", "component")
    },
}


def file_name(name: str) -> str:
    """Return what the file of a schema is called: `file_name("job.sweep")` is "job.sweep.schema.json"."""
    return f"{name}.schema.json"


def schema(name: str) -> dict[str, Any]:
    """Return a schema as it is made from the readers: `schema("job.command")`."""
    definitions: Definitions = {}
    root = SHAPES[name].schema(definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:studiolo:schema:{name}",
        "title": name,
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def text(name: str) -> str:
    """Return a schema as its file says it."""
    return json.dumps(schema(name), indent=1, ensure_ascii=False) + "\n"


def write(folder: Path = FOLDER) -> list[Path]:
    """Write every schema into a folder and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name in SHAPES:
        path = folder / file_name(name)
        path.write_text(text(name), encoding="utf-8")
        files.append(path)
    return files
