"""From a path to a reading: the file is parsed, `--set` is applied, files that name others are followed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.files.overrides import Override, apply
from jobs.files.reading import Place, Reading
from workspace.documents import Document, read_yaml, told_of_placeholders
from workspace.errors import Invalid, NotFound

DEEPEST = 20  # files that name files


def start(path: Path, overrides: tuple[Override, ...] = (), *, strict: bool = False) -> Place:
    """Return the place where the reading of a file begins; its root is a mapping."""
    try:
        document = read_yaml(path)
    except Invalid as error:
        raise told_of_placeholders(path, error) from None
    if document.root is None:
        raise Invalid("the file is empty", at=document.at())
    if not isinstance(document.root, dict):
        raise Invalid("the file must be a mapping of keys", at=document.at())
    return Place(Reading(apply(document, overrides), strict, trail=(path.resolve(),)))


def start_made(made: Mapping[str, Any], folder: Path) -> Place:
    """Return the place where the reading of plain values begins: what code has put together, as a file would say it."""
    return Place(Reading(Document(folder / "<made>", dict(made))))


def follow(place: Place, written: str) -> Place:
    """Return the beginning of another file that this one names; what is found there counts as found here."""
    path = (place.folder / written.removeprefix("file:")).resolve()
    if path in place.reading.trail:
        raise place.refused(f"{written!r} leads back to itself")
    if len(place.reading.trail) >= DEEPEST:
        raise place.refused(f"more than {DEEPEST} files name each other")
    try:
        document = read_yaml(path)
    except NotFound:
        hint = f"paths are relative to the folder of the file, {place.folder}"
        raise place.refused(f"no file at {written!r}", hint=hint) from None
    except Invalid as problem:
        raise _inside(place, problem) from None
    if not isinstance(document.root, dict):
        raise place.refused(f"{written!r} must be a mapping of keys")
    reading = Reading(document, place.reading.strict, place.reading.findings, (*place.reading.trail, path))
    return Place(reading)


def _inside(place: Place, problem: Invalid) -> Invalid:
    refused = place.refused(problem.message, hint=problem.hint)
    refused.at = problem.at
    return refused
