"""Checkpoints that are whole or are none: each is sealed when it is written, and looked at before it is used."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from workspace.paths import write_atomically

SEAL = "sealed.json"  # written last: sizes and digests of all files
NEVER_READ = ("training_args.bin",)  # pickles that transformers writes beside what it reads
PREFIX = "checkpoint-"


def seal(folder: Path) -> None:
    """Say that a checkpoint is whole; without this it is none."""
    for name in NEVER_READ:
        (folder / name).unlink(missing_ok=True)
    files = {str(path.relative_to(folder)): _digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    write_atomically(folder / SEAL, json.dumps(files))


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """Return the newest checkpoint that is whole, and a sentence on each that is not; those are taken away.

    Half a checkpoint that a killed process has left is no damage: it goes without a word.
    """
    said: list[str] = []
    for path in sorted(folder.glob(f"{PREFIX}*"), key=step_of, reverse=True):
        problem = _problem(path)
        if problem is None:
            return path, said
        if problem:
            said.append(f"the checkpoint of step {step_of(path)} is damaged ({problem}): the one before it is used")
        shutil.rmtree(path)
    return None, said


def step_of(folder: Path) -> int:
    """Return the step at which a checkpoint was made."""
    number = folder.name.removeprefix(PREFIX)
    return int(number) if number.isdecimal() else -1


def _problem(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint: nothing (None), or that it was never finished ("")."""
    try:
        sealed = json.loads((folder / SEAL).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return ""
    for name, told in sealed.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if _digest(path) != told:
            return f"{name} is not what was written"
    return None


def _digest(path: Path) -> list[str | int]:
    with path.open("rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]
