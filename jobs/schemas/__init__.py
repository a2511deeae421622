"""JSON Schemas of job files and of all files beside them, so that editors complete and explain.

They are made of the readers' own tables of keys: the fields of the dataclasses in `jobs.files`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from flows.schemas.files import Schemas
from jobs.files.kinds import COMPONENT, JOB, KINDS
from jobs.files.shapes import Definitions, Shape

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


def _schema(name: str) -> dict[str, Any]:
    definitions: Definitions = {}
    root = SHAPES[name].schema(definitions)
    return {"title": name, **root, "$defs": dict(sorted(definitions.items()))}


SCHEMAS = Schemas(Path(__file__).parent, {name: partial(_schema, name) for name in SHAPES})
