"""Packages that were compiled for numpy 1: their files say so, whatever their versions leave open.

Old releases of pandas, scikit-learn and others ask for `numpy>=1.20` and fail with numpy 2 as soon as they are
imported. What was compiled for numpy 1 names the module where that has its functions, and not numpy 2's.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

OLDER = "numpy<2"
_OLD, _NEW = b"numpy.core._multiarray_umath", b"numpy._core"


def for_numpy_1(folder: Path) -> tuple[str, ...]:
    """Return what an environment with numpy 2 has that cannot be used with it: `("pandas", "sklearn")`."""
    found: list[str] = []
    for packages in folder.glob("lib/python*/site-packages"):
        if _has_numpy_2(packages):
            found += [name for name, place in _compiled(packages) if any(map(_is_old, place))]
    return tuple(sorted(found))


def _has_numpy_2(packages: Path) -> bool:
    versions = [path.name.removeprefix("numpy-").partition(".")[0] for path in packages.glob("numpy-*.dist-info")]
    return any(version.isdecimal() and int(version) >= 2 for version in versions)


def _compiled(packages: Path) -> Iterator[tuple[str, Iterator[Path]]]:
    """Each package with its compiled files; a module that is one file is a package too."""
    for place in packages.iterdir():
        if place.is_dir() and not place.name.startswith("numpy"):
            yield place.name, place.rglob("*.so")
        elif place.suffix == ".so":
            yield place.name.partition(".")[0], iter((place,))


def _is_old(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, 2):
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(_OLD) >= 0 > content.find(_NEW)
