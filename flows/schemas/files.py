"""The schemas of a package and the files they are shipped as."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Schemas:
    """Schemas by name, each with the function that makes it, and the folder that ships them."""

    folder: Path
    made_by: Mapping[str, Callable[[], dict[str, Any]]]

    def file_name(self, name: str) -> str:
        """Return what the file of a schema is called: `file_name("run")` is "run.schema.json"."""
        return f"{name}.schema.json"

    def schema(self, name: str) -> dict[str, Any]:
        """Return a schema as it is made from the readers: `schema("flow.dag")`."""
        about = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:studiolo:schema:{name}"}
        return about | self.made_by[name]()

    def text(self, name: str) -> str:
        """Return a schema as its file says it."""
        return json.dumps(self.schema(name), indent=2, ensure_ascii=False) + "\n"

    def write(self, folder: Path | None = None) -> list[Path]:
        """Write every schema into a folder (none: the one that ships them) and return the files."""
        folder = folder or self.folder
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for name in self.made_by:
            path = folder / self.file_name(name)
            path.write_text(self.text(name), encoding="utf-8")
            files.append(path)
        return files
