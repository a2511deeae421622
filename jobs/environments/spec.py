"""The packages of an environment in pip's words, and the name of the environment that follows from them."""

from __future__ import annotations

import hashlib
import json
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FORMAT = 1  # another one makes every environment anew
# Enough to tell packages apart. What `packaging` makes of a line costs 30 ms to import, and every job comes by here.
_LINE = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*)\s*(?P<extras>\[[^\]]*\])?\s*\(?(?P<versions>[^;@()]*)\)?(?P<rest>[;@].*)?"
)
SCRATCH = frozenset({".git", "__pycache__", ".venv", "venv", "node_modules"})  # what is no part of a folder's content
_BUILT = SCRATCH | {"build", "dist"}  # nor of a package's: what building it leaves there


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What is to be installed. `python` is a version ("3.10"), a range (">=3.8,<3.11") or nothing.

    `before` is what conda would install before pip: where both cannot be had, it gives way to `packages`.
    """

    python: str = ""
    before: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    options: tuple[str, ...] = ()  # of pip, for all packages: `--extra-index-url …`
    said: tuple[str, ...] = ()

    @property
    def all_packages(self) -> tuple[str, ...]:
        """What conda and what pip would install."""
        return self.before + self.packages


def key(spec: Spec) -> str:
    """Return the name under which the environment is kept: the same packages have the same, however written."""
    asked = {
        "format": FORMAT,
        "python": spec.python,
        "before": sorted({_fingerprint(line) for line in spec.before}),
        "packages": sorted({_fingerprint(line) for line in spec.packages}),
        "options": [_fingerprint(line) for line in spec.options],
        "platform": sysconfig.get_platform(),
    }
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:20]


def name_of(line: str) -> str:
    """Return the package's name as indexes write it; nothing for a file, a URL that names none, an option.

    >>> name_of("Scikit_Learn~=1.5")
    'scikit-learn'
    """
    match = _match(line)
    return _canonical(match["name"]) if match else ""


def local_path(line: str) -> Path | None:
    """Return the file or folder that a line names, made absolute before by who read it."""
    text = line.removeprefix("-e ").removeprefix("-c ").strip()
    return Path(text.partition("[")[0]) if text.startswith("/") else None


def digest(path: Path, *, without: frozenset[str] = SCRATCH) -> str:
    """Return what a file or a folder holds, as a hash."""
    total = hashlib.sha256()
    for each in sorted(_files(path, without)):
        total.update(f"{each.relative_to(path)}\0{each.stat().st_size}\0".encode())
        total.update(each.read_bytes())
    return total.hexdigest()


def _fingerprint(line: str) -> str:
    if path := local_path(line):
        return f"{line}#{digest(path, without=_BUILT)}" if path.exists() else line
    match = _match(line)
    if match is None:
        return " ".join(line.split())
    # Extras and versions in one order, whatever the order they were written in.
    extras = sorted(part.strip() for part in (match["extras"] or "").strip("[]").split(","))
    versions = sorted("".join(part.split()) for part in match["versions"].split(","))
    rest = " ".join((match["rest"] or "").split())
    return f"{_canonical(match['name'])}[{','.join(extras)}]{','.join(versions)}{rest}{line.partition(' --')[2]}"


def _match(line: str) -> re.Match[str] | None:
    return _LINE.fullmatch(line.split(" --")[0].strip())


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _files(path: Path, without: frozenset[str]) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir() and path.name not in without and path.suffix != ".egg-info":
        for each in path.iterdir():
            yield from _files(each, without)
