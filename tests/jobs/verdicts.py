"""The corpus of files, small mutations of them, and what the real azure-ai-ml says of each: asked once, then kept."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.checks import problems
from jobs.files.kinds import KINDS
from jobs.files.loading import start
from jobs.files.reading import Finding, Refused
from tests.jobs import mutations
from workspace.errors import Invalid

CORPUS = Path(__file__).parent / "corpus"
RECORDED = CORPUS / "verdicts.json"
PACKAGE = "azure-ai-ml==1.35.2"
MUTATIONS = 4  # recorded ones of each file


@dataclass(frozen=True, slots=True)
class Ours:
    """What we say of a file, strictly: nothing, an error, or findings; `rules` are what those are called."""

    refused: bool
    rules: frozenset[str] = frozenset()
    why: str = ""


def files() -> list[tuple[str, Path]]:
    """Return every file of the corpus with its kind: that is the folder it lies in."""
    return [(path.parent.name, path) for path in sorted(CORPUS.glob("*/*.yml"))]


def name(path: Path) -> str:
    """Return what a file of the corpus is called: `job/sweep_grid.yml`."""
    return f"{path.parent.name}/{path.name}"


def mutated(path: Path, number: int) -> Any:
    """Return a mutation of a file, the same each time, or None where it has none."""
    root = mutations.root_of(path)
    if not root:
        return None
    chance = random.Random(f"{name(path)}:{number}")  # noqa: S311  no secret
    changed = mutations.mutate(root, chance)
    return None if changed == root else changed


def ours(kind: str, path: Path) -> Ours:
    """Read a file as strictly as we can."""
    try:
        place = start(path, strict=True)
        found = KINDS[kind].read(place, place.reading.document.root)
    except Refused as error:
        return Ours(True, frozenset({error.rule} - {""}), f"{error} ({error.hint})")
    except Invalid as error:
        return Ours(True, frozenset(), str(error))
    findings: list[Finding] = [
        each for each in (*place.reading.findings, *problems(found)) if each.weight in ("refusal", "leniency")
    ]
    return Ours(bool(findings), frozenset(each.rule for each in findings), "; ".join(map(str, findings)))


@contextmanager
def azure(cache: Path) -> Iterator[Azure]:
    """Start the real package in a Python of its own, whose pins are not ours; the environment is kept in `cache`."""
    python = os.environ.get("STUDIOLO_TEST_AZURE_ML") or str(_environment(cache))
    oracle = [python, str(Path(__file__).with_name("azure_oracle.py"))]
    with subprocess.Popen(oracle, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Azure(process)
        finally:
            process.terminate()


class Azure:
    """The real package, waiting for files."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin
        assert process.stdout
        self._questions, self._answers = process.stdin, process.stdout
        assert self._answers.readline().strip() == "ready"

    def verdict(self, kind: str, path: Path) -> str | None:
        """Return None where it accepts a file, else what it says."""
        self._questions.write(json.dumps([kind, str(path)]) + "\n")
        self._questions.flush()
        answer: str | None = json.loads(self._answers.readline())
        return answer


def record(azure: Azure, scratch: Path) -> dict[str, Any]:
    """Ask the package about everything."""
    shutil.copytree(CORPUS, scratch, dirs_exist_ok=True)
    said: dict[str, Any] = {"files": {}, "mutations": {}}
    for kind, path in files():
        reason = azure.verdict(kind, path)
        said["files"][name(path)] = None if reason is None else " ".join(reason.split())[:120]
        said["mutations"][name(path)] = "".join(
            _letter(azure, kind, path, number, scratch) for number in range(MUTATIONS)
        )
    return said


def _letter(azure: Azure, kind: str, path: Path, number: int, scratch: Path) -> str:
    root = mutated(path, number)
    if root is None:
        return "-"
    changed = scratch / kind / "mutated.yml"
    mutations.write(root, changed)
    return "a" if azure.verdict(kind, changed) is None else "r"


def _environment(cache: Path) -> Path:
    python = cache / "venv" / "bin" / "python"
    if not python.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", str(cache / "venv")], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), PACKAGE], check=True)
    return python
