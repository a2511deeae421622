"""Packing: what a file says and what it names become one folder, and such a folder is read again.

In the folder are `NAME.yaml`, as it was written, `NAME.json`, the same with every file that it names in it or beside
it, and a folder for each of its code folders.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workspace.errors import NotFound

if TYPE_CHECKING:
    from jobs.files.reading import Origin
    from workspace.blobs import Blob
    from workspace.home import Workspace

# Literals and free text: a value there is no path, whatever it looks like.
_NOT_FOLLOWED = ("inputs", "outputs", "environment_variables", "tags", "properties", "conf", "search_space")
_REQUIREMENTS = re.compile(r"(?P<option>-r|--requirement|-c|--constraint|-e|--editable) (?P<path>/.+)")
_BESIDE = "./"


@dataclass(slots=True)
class Packing:
    """What is gathered while plain values are gone through: files by their path in the folder."""

    files: list[tuple[str, Path]] = field(default_factory=list)
    _places: dict[Path, str] = field(default_factory=dict)

    def pack(self, value: Any, key: str = "") -> Any:
        """Return plain values whose absolute paths of code lead into the folder that is made."""
        if isinstance(value, Mapping):
            return {
                name: each if name in _NOT_FOLLOWED and isinstance(each, Mapping) else self.pack(each, str(name))
                for name, each in value.items()
            }
        if isinstance(value, list):
            return [self.pack(each, key) for each in value]
        if not isinstance(value, str):
            return value
        if key in ("code", "path") and Path(value).is_absolute() and Path(value).exists():
            return self._beside(Path(value))
        if key == "pip":
            return self._requirement(value)
        return value

    def _requirement(self, line: str) -> str:
        found = _REQUIREMENTS.fullmatch(line)
        path = Path(found["path"] if found else line)
        if not path.is_absolute() or not path.exists():
            return line
        place = self._beside(path)
        return f"{found['option']} {place}" if found else place

    def _beside(self, path: Path) -> str:
        from jobs.snapshots import code_files

        path = path.resolve()
        if path not in self._places:
            folder = f"files-{len(self._places) + 1}"
            self.files += [(f"{folder}/{name}", each) for name, each in code_files(path)]
            self._places[path] = f"{_BESIDE}{folder}/{path.name}" if path.is_file() else f"{_BESIDE}{folder}"
        return self._places[path]


def pack(workspace: Workspace, name: str, plain: Mapping[str, Any], origin: Origin) -> Blob:
    """Keep a folder with what a file says, and with what it names."""
    packing = Packing()
    packed = packing.pack(dict(plain))
    written = origin.document.path
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) / f"{name}.json"
        place.write_text(json.dumps(packed, indent=1, sort_keys=True, ensure_ascii=False))
        files = [*packing.files, (place.name, place)]
        if written.is_file():
            files.append((f"{name}.yaml", written))
        return workspace.blobs.add_files(files)


def unpack(folder: Path, name: str) -> dict[str, Any]:
    """Return the plain values of such a folder; relative paths in them start there."""
    try:
        found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"what is kept there was not registered as a {name}", hint="register it from its file") from None
    return found


def placed(value: Any, folder: Path) -> Any:
    """Return plain values of such a folder with absolute paths, as they are shown."""
    if isinstance(value, Mapping):
        return {key: placed(each, folder) for key, each in value.items()}
    if isinstance(value, list):
        return [placed(each, folder) for each in value]
    return str(folder / value) if isinstance(value, str) and value.startswith(f"{_BESIDE}files-") else value
