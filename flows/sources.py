"""What a flow runs over: rows of data, and the inputs and outputs of a run before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows import data, images, mapping
from flows.data import BadRow, Row
from flows.flow import MISSING, Flow
from flows.results import COMPLETED, LOG, last_lines
from workspace import RunRecord, Workspace
from workspace.errors import Invalid, Location

IMAGES = Path("artifacts") / "images"  # in a run's folder: the images of its outputs
FOLDER = "data.folder"  # a run's param: where the paths of images in its data begin, where its flow may take images


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of a run's completed lines, as rows; lines that failed are missing."""

    folder: Path

    def __iter__(self) -> Iterator[Row | BadRow]:
        for line in last_lines(self.folder / LOG):
            if line.status == COMPLETED:
                yield {data.LINE_NUMBER: line.number, **(line.outputs or {})}


@dataclass(frozen=True, slots=True)
class Sources:
    """Rows by source: "data", "run.inputs", "run.outputs"; `folders` is where the paths of images in them begin."""

    rows: Mapping[str, Path | Iterable[Row | BadRow]]
    folders: Mapping[str, Path] = field(default_factory=dict)

    def check(self, flow: Flow, columns: Mapping[str, Any]) -> None:
        """Raise Invalid before anything runs: an unknown input or source, no rows, a column that no row has."""
        mapping.check(flow, columns, self.rows)
        for name, source in self.rows.items():
            rows = data.read(source) if isinstance(source, Path) else source
            if iter(rows) is not source and next(iter(rows), None) is None:
                at = Location(source) if isinstance(source, Path) else None
                raise Invalid(f"{name} has no rows", hint="there is nothing to run over", at=at)
        mapping.check_columns(flow, columns, self.rows)

    def lines(self, flow: Flow, columns: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """Yield each line's number with its inputs, or with what is wrong with it."""
        make = mapping.compile_mapping(flow, columns, folders=self.folders)
        for number, rows in self._joined():
            try:
                yield number, make(rows)
            except ValueError as error:
                yield number, str(error)

    def remembered(self, flow: Flow) -> dict[str, str]:
        """Return what a run must know to read its data again: where the paths of images in it begin."""
        takes = any(images.takes(declared.type) for declared in flow.inputs.values())
        return {FOLDER: str(self.folders["data"].resolve())} if takes and "data" in self.folders else {}

    def count(self) -> int | None:
        """Return how many lines there are, where that is known without reading them."""
        if len(self.rows) == 1 and isinstance(path := self.rows.get("data"), Path):
            return data.count(path)
        return None

    def passed_over(self, flow: Flow, columns: Mapping[str, Any]) -> list[str]:
        """Return the inputs that keep their default though the first row has a column of their name."""
        path = self.rows.get("data")
        first = next(iter(data.read(path)), None) if isinstance(path, Path) else None
        if not isinstance(first, dict):
            return []
        defaulted = (name for name, each in flow.inputs.items() if each.default is not MISSING)
        return [name for name in defaulted if name in first and name not in columns]

    def _joined(self) -> Iterator[tuple[int, Mapping[str, Row | BadRow]]]:
        if len(self.rows) > 1:
            yield from data.join(self.rows)
            return
        for name, source in self.rows.items():
            rows = data.read(source) if isinstance(source, Path) else source
            for number, row in data.numbered(rows):
                yield number, {name: row}


def of(workspace: Workspace, path: Path | None, base: RunRecord | None, *, folder: str | None = None) -> Sources:
    """Return the rows of a data file or folder, of a run before, or of both. Invalid where there is neither.

    `folder` is where paths in the data begin, where that is not beside it.
    """
    rows: dict[str, Path | Iterable[Row | BadRow]] = {}
    folders: dict[str, Path] = {}
    if path is not None:
        rows["data"], folders["data"] = path, _beside(path, folder)
    if base is not None:
        if base.kind != "flow" or base.status != "FINISHED":
            raise Invalid(f"run {base.name!r} is no finished run of a flow ({base.kind}, {base.status})")
        rows["run.outputs"], folders["run.outputs"] = Outputs(base.directory), base.directory / IMAGES
        if ref := base.params.get("data"):
            given = workspace.assets.path(workspace.assets.get("data", ref))
            rows["run.inputs"], folders["run.inputs"] = given, _beside(given, base.params.get(FOLDER))
    if not rows:
        raise Invalid("nothing to run over", hint="give --data, --run or both")
    return Sources(rows, folders)


def _beside(path: Path, folder: str | None) -> Path:
    return Path(folder) if folder else path if path.is_dir() else path.parent
