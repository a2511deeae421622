"""The Pythons of this machine, and which of them is nearest to the one that a file asks for."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from workspace.errors import Invalid

Minor = tuple[int, int]

OLDEST: Minor = (3, 6)  # for older ones uv makes no environments
NEWEST: Minor = (3, 17)  # looked for by name, so that a PATH is not read whole
OWN: Minor = (sys.version_info.major, sys.version_info.minor)
_EXACT = re.compile(r"(\d+)\.(\d+)")
_VERSION = re.compile(r"(?:cpython-)?(3)\.(\d+)\.(\d+)(?!.*freethreaded)[^/]*")


def found(environ: Mapping[str, str]) -> dict[Minor, Path]:
    """Return the Pythons of this machine: our own, those on the PATH, those that pyenv, uv, asdf and mise keep.

    Only names are looked at, so it takes a millisecond; `uv` finds out whether one works.
    """
    known: dict[Minor, Path] = {OWN: Path(sys.executable).resolve()}
    for minor, path in (*_on_path(environ), *_kept(environ)):
        known.setdefault(minor, path)
    return known


def nearest(asked: str, known: Iterable[Minor]) -> list[Minor]:
    """Return the known versions, the nearest to the asked one first; of two as near, the newer.

    `asked` is a version ("3.10"), a range (">=3.8,<3.11") or nothing, which is our own.

    >>> nearest("3.8", [(3, 11), (3, 9), (3, 7)])
    [(3, 9), (3, 7), (3, 11)]
    """
    versions = sorted(set(known), reverse=True)
    wanted = [minor for minor in all_minors() if fits(asked, minor)] if asked else [OWN]
    if not wanted:
        raise Invalid(f"no Python that still exists is {asked!r}", hint=f"the oldest that can be had is {text(OLDEST)}")
    aim = OWN if OWN in wanted else max(wanted)
    return sorted(versions, key=lambda minor: (_away(minor, wanted), abs(minor[1] - aim[1])))


def fits(asked: str, minor: Minor) -> bool:
    """Whether this version is what was asked for: `fits(">=3.8,<3.11", (3, 10))`."""
    if not asked:
        return True
    if exact := _EXACT.fullmatch(asked):
        return minor == (int(exact[1]), int(exact[2]))
    # Ranges are rare, and `packaging` takes 30 ms of every job that comes by here.
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        specifiers = SpecifierSet(asked)
    except InvalidSpecifier:
        raise Invalid(f"{asked!r} is no version of Python", hint="write it as 3.10 or as >=3.8,<3.11") from None
    # A range may begin in the middle of a minor version: >=3.9.7.
    return any(specifiers.contains(f"{text(minor)}.{patch}") for patch in (0, 99))


def exactly(asked: str) -> Minor | None:
    """Return the version where one alone is asked for."""
    exact = _EXACT.fullmatch(asked)
    return (int(exact[1]), int(exact[2])) if exact else None


def text(minor: Minor) -> str:
    """Return `"3.10"`."""
    return f"{minor[0]}.{minor[1]}"


def all_minors() -> list[Minor]:
    """Return the versions that there may be."""
    return [(3, minor) for minor in range(OLDEST[1], NEWEST[1] + 1)]


def _away(minor: Minor, wanted: Iterable[Minor]) -> int:
    return min(abs(minor[1] - each[1]) for each in wanted)


def _on_path(environ: Mapping[str, str]) -> Iterator[tuple[Minor, Path]]:
    for folder in environ.get("PATH", "").split(":"):
        # A shim of pyenv works only where its version is switched on.
        if not folder or Path(folder).name == "shims":
            continue
        for minor in all_minors():
            path = Path(folder) / f"python{text(minor)}"
            if path.exists():
                yield minor, path


def _kept(environ: Mapping[str, str]) -> Iterator[tuple[Minor, Path]]:
    home = Path(environ.get("HOME") or Path.home())
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    folders = (
        Path(environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python"),
        Path(environ.get("PYENV_ROOT") or home / ".pyenv") / "versions",
        Path(environ.get("ASDF_DATA_DIR") or home / ".asdf") / "installs" / "python",
        Path(environ.get("MISE_DATA_DIR") or data / "mise") / "installs" / "python",
    )
    for folder in folders:
        versions = [match for path in _children(folder) if (match := _VERSION.fullmatch(path))]
        for match in sorted(versions, key=lambda match: int(match[3]), reverse=True):
            path = folder / match[0] / "bin" / "python3"
            if path.exists():
                yield (3, int(match[2])), path


def _children(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []
