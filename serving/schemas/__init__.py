"""JSON Schemas of endpoint and deployment YAML, so that editors complete and explain: made from the readers' keys."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
# What a schema is called, and the module that makes it.
MADE_BY = {"endpoint": "serving.schemas.endpoint", "deployment": "serving.schemas.deployment"}


def file_name(name: str) -> str:
    """Return what the file of a schema is called: `file_name("endpoint")` is "endpoint.schema.json"."""
    return f"{name}.schema.json"


def schema(name: str) -> dict[str, Any]:
    """Return a schema as it is made from the readers: `schema("endpoint")`."""
    made: dict[str, Any] = importlib.import_module(MADE_BY[name]).schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:studiolo:schema:{name}", **made}


def text(name: str) -> str:
    """Return a schema as its file says it."""
    return json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"


def write(folder: Path = FOLDER) -> list[Path]:
    """Write every schema into a folder and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name in MADE_BY:
        path = folder / file_name(name)
        path.write_text(text(name), encoding="utf-8")
        files.append(path)
    return files
