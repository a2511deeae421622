"""Lines of a requirements.txt, or of the `pip:` list of a conda file: packages, options, and files that they name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from workspace.errors import Invalid, Location, NotFound

LARGEST = 1_000_000  # bytes of a requirements file
DEEPEST = 10  # files that include files
_COMMENT = re.compile(r"(^|\s)#.*$")
_OPTION = re.compile(r"(?P<name>--?[A-Za-z][\w-]*)(?:\s*=\s*|\s+|$)(?P<value>.*)")
_INCLUDE = ("-r", "--requirement")
_CONSTRAINT = ("-c", "--constraint")
_EDITABLE = ("-e", "--editable")
_SHORT = {"-i": "--index-url", "-f": "--find-links"}
_KEPT = frozenset(
    {"--index-url", "--extra-index-url", "--find-links", "--no-index", "--no-binary", "--only-binary", "--pre"}
)
_WITHOUT_MEANING = frozenset({
    "--trusted-host", "--prefer-binary", "--use-feature", "--require-hashes", "--no-cache-dir", "--upgrade", "-U", "-q",
    "--quiet", "--user",
})  # fmt: skip
_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2")


def read(lines: Iterable[str], folder: Path, *, at: Location | None = None) -> tuple[list[str], list[str]]:
    """Return packages and options; files that are included are read, paths made absolute.

    Raises Invalid for an option that pip does not know, NotFound for a file that is not there.
    """
    packages: list[str] = []
    options: list[str] = []
    for line, where in _lines(lines, folder, at, 0):
        option = _OPTION.fullmatch(line)
        if option is None:
            packages.append(_package(line, where))
        elif option["name"] in _EDITABLE:
            packages.append(f"-e {_absolute(option['value'], where, at)}")
        elif option["name"] in _CONSTRAINT:
            options.append(f"-c {_absolute(option['value'], where, at)}")
        elif (name := _SHORT.get(option["name"], option["name"])) in _KEPT:
            value = option["value"].strip()
            options.append(f"{name} {_found(value, where) if name == '--find-links' else value}".rstrip())
        elif name not in _WITHOUT_MEANING:
            raise Invalid(f"pip's option {option['name']!r} cannot be used in a list of packages", at=at)
    return packages, options


def _lines(lines: Iterable[str], folder: Path, at: Location | None, depth: int) -> Iterator[tuple[str, Path]]:
    """Each line with the folder that its paths start from, included files in their place."""
    if depth > DEEPEST:
        raise Invalid("requirements files include each other", at=at)
    joined = "\n".join(str(line) for line in lines).replace("\\\n", " ")
    for raw in joined.splitlines():
        line = _COMMENT.sub("", raw).strip()
        option = _OPTION.fullmatch(line)
        if not line:
            continue
        if option and option["name"] in _INCLUDE:
            path = folder / option["value"].strip()
            yield from _lines(_read_file(path, at).splitlines(), path.parent, Location(path), depth + 1)
        else:
            yield line, folder


def _read_file(path: Path, at: Location | None) -> str:
    try:
        with path.open(encoding="utf-8-sig") as file:
            return file.read(LARGEST)
    except FileNotFoundError:
        raise NotFound(f"no requirements file {str(path)!r}", hint="its path starts at the conda file", at=at) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"cannot read the requirements file {str(path)!r}: {error}", at=at) from None


def _package(line: str, folder: Path) -> str:
    text = line.removeprefix("file:")
    if "://" not in text and (text.startswith((".", "/")) or text.partition(";")[0].strip().endswith(_ARCHIVES)):
        return _absolute(text, folder, None)
    return line


def _absolute(written: str, folder: Path, at: Location | None) -> str:
    path, extras, rest = written.strip().partition("[")
    if "://" in path:
        return written.strip()
    found = (folder / path.strip()).resolve()
    if not found.exists():
        raise NotFound(f"no file or folder {path!r}", hint="its path starts at the file that names it", at=at)
    return f"{found}{extras}{rest}"


def _found(value: str, folder: Path) -> str:
    return value if "://" in value else str((folder / value).resolve())
