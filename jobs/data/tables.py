"""MLTable: tables told by a file beside their data, which is read by pandas; what they name elsewhere comes along."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.data import places
from jobs.files import read_mltable
from jobs.files.data import MLTABLE, TablePath, mltable_in
from jobs.files.plain import plain
from jobs.files.references import Target, target
from workspace.blobs import files_of
from workspace.errors import Invalid, NotFound

if TYPE_CHECKING:
    from workspace.blobs import Blob
    from workspace.home import Workspace


def file_in(place: Path) -> Path | None:
    """Return the MLTable file that a path means: a folder that holds one, or the file itself."""
    if place.is_file():
        return place if place.name == MLTABLE else None
    return mltable_in(place)


def read(place: Path, *, rows: int | None = None) -> Any:
    """Return a table of this machine as a DataFrame of pandas, or its first rows."""
    from jobs.shims import mltable

    try:
        table = mltable.load(str(place))
        return (table if rows is None else table.take(rows)).to_pandas_dataframe()
    except (ValueError, KeyError, NotImplementedError) as error:
        raise Invalid(f"the table in {place} cannot be read: {error}", hint="see its MLTable file") from None


def files(place: Path) -> list[Path]:
    """Return the files that a table of this machine is made of."""
    from jobs.shims import mltable

    try:
        return [Path(path) for path in mltable.files_of(mltable.load(str(place)))]
    except ValueError as error:
        raise Invalid(f"the table in {place} cannot be read: {error}", hint="see its MLTable file") from None


def localised(workspace: Workspace, place: Path, folder: Path | None = None) -> Blob:
    """Keep a table as a folder that has all its files: what its MLTable file names elsewhere is fetched."""
    return _gathered(workspace, place, folder, lambda _: True)


def moved(workspace: Workspace, place: Path) -> Blob:
    """Keep a table as a folder that can be read wherever it lies; what is not on this machine is fetched by readers."""
    return _gathered(workspace, place, place, lambda where: isinstance(where, Path))


def _gathered(workspace: Workspace, place: Path, folder: Path | None, wanted: Callable[[Target], bool]) -> Blob:
    file = _file(place)
    said = read_mltable(file)
    kept = {path.relative_to(file.parent).as_posix(): path for path in files_of(file.parent)}
    brought = [
        each
        if (found := _brought(workspace, each, (file, folder), wanted)) is None
        else _beside(found, index, kept, each)
        for index, each in enumerate(said.paths)
    ]
    if all(new is old for new, old in zip(brought, said.paths, strict=True)):
        return workspace.blobs.add_files(sorted(kept.items()))
    with tempfile.TemporaryDirectory() as temporary:
        written = Path(temporary) / MLTABLE
        content = {**said.origin.written, "paths": [plain(each) for each in brought]}
        written.write_text(json.dumps(content, indent=1, default=str))
        return workspace.blobs.add_files(sorted({**kept, MLTABLE: written}.items()))


def evaluated(workspace: Workspace, place: Path, folder: Path | None = None) -> Blob:
    """Keep the files of a table as a folder, without what says how they are read."""
    blob = localised(workspace, place, folder)
    whole = workspace.blobs.materialise(blob, workspace.home / "checkouts" / blob.digest.removeprefix("sha256:"))
    found = files(whole)
    return workspace.blobs.add_files((path.relative_to(whole).as_posix(), path) for path in found)


def _brought(
    workspace: Workspace, each: TablePath, near: tuple[Path, Path | None], wanted: Callable[[Target], bool]
) -> Path | None:
    """Return where a path of a table is on this machine, if that is outside of the table's folder and wanted."""
    file, folder = near
    written = each.file or each.folder or each.pattern or ""
    head, glob = _split(written) if each.pattern else (written, "")
    where = target(head, file.parent)
    if not wanted(where) or (isinstance(where, Path) and where.is_relative_to(file.parent)):
        return None
    found = places.find(workspace, where, folder=folder)
    if each.pattern and glob and not any(found.glob(glob)):
        raise NotFound(f"no file fits the pattern {written!r}", hint=f"it is in {file}")
    return found


def _beside(found: Path, index: int, kept: dict[str, Path], each: TablePath) -> TablePath:
    """Put files among those of the table, and return the path by which it has them now."""
    base = f"from-elsewhere-{index + 1}"
    if found.is_file():
        kept[f"{base}/{found.name}"] = found
        return TablePath(file=f"./{base}/{found.name}")
    kept.update({f"{base}/{path.relative_to(found).as_posix()}": path for path in files_of(found)})
    glob = _split(each.pattern)[1] if each.pattern else ""
    return TablePath(pattern=f"./{base}/{glob}") if glob else TablePath(folder=f"./{base}")


def _split(pattern: str) -> tuple[str, str]:
    """Return the folder in which a pattern begins, and the pattern in it.

    >>> _split("wasbs://c@a.blob.core.windows.net/rows/*.csv")
    ('wasbs://c@a.blob.core.windows.net/rows/', '*.csv')
    """
    parts = pattern.split("/")
    first = next((index for index, part in enumerate(parts) if set(part) & set("*?[")), len(parts) - 1)
    head = "/".join(parts[:first])
    return (f"{head}/" if head else "./"), "/".join(parts[first:])


def _file(place: Path) -> Path:
    if (file := file_in(place)) is None:
        raise NotFound(f"there is no {MLTABLE} file in {place}", hint="a table is a folder with a file of that name")
    return file.resolve()
