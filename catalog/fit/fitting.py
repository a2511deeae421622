"""Whether a model fits a device: its memory part by part, the longest context, an engine and how fast it may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from catalog.fit import headers, inference, keys, training
from catalog.fit.config import shape as shape_of
from catalog.fit.devices import Device
from catalog.fit.headers import Weights
from catalog.fit.inference import Serving, ServingMemory
from catalog.fit.shape import Shape
from catalog.fit.speed import Speed, expected
from catalog.fit.training import TrainingMemory, Tuning
from workspace.errors import NotFound

# Of a process before it has a model: Python and torch with what it loads late, on a CPU; CUDA's context on a GPU.
OVERHEAD_CPU = 450_000_000
OVERHEAD_GPU = 600_000_000
KEPT_FREE = 0.05  # of a device's memory, for what else lives there


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A model as its files describe it; `where` it was looked at, `name` for commands."""

    name: str
    where: str
    shape: Shape
    weights: Weights | None = None
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What serving takes on one device: `context` is the longest that fits, `batch` the most sequences at once."""

    device: Device
    memory: ServingMemory
    fits: bool
    context: int
    batch: int
    speed: Speed
    engine: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFit:
    """What training takes on one device, and what would fit where this does not."""

    device: Device
    memory: TrainingMemory
    fits: bool
    batch: int
    instead: Tuning | None


def of_folder(folder: Path, name: str = "") -> Known:
    """Return the model of a folder with a config.json, or of a GGUF file."""
    label = name or str(folder)
    if folder.suffix == ".gguf" and folder.is_file():
        found = headers.of_gguf(folder)
        return Known(name=label, where=str(folder), shape=shape_of(found.config), weights=found, file=folder.name)
    if not folder.is_dir():
        raise NotFound(f"no folder {str(folder)!r}", hint="give a model of this workspace, a folder, or hf:AUTHOR/NAME")
    weights = headers.of_folder(folder)
    config = folder / "config.json"
    if config.is_file():
        return Known(name=label, where=str(folder), shape=shape_of(keys.read(config)), weights=weights)
    if weights is None or not weights.config:
        raise NotFound(f"{folder} has neither config.json nor a GGUF file")
    return Known(name=label, where=str(folder), shape=shape_of(weights.config), weights=weights)


def fit(known: Known, serving: Serving, devices: Sequence[Device]) -> list[Fit]:
    """Return what serving takes on each device."""
    return [_fit(known, serving, device) for device in devices]


def fit_training(known: Known, tuning: Tuning, devices: Sequence[Device]) -> list[TrainingFit]:
    """Return what training takes on each device."""
    found = []
    for device in devices:
        room, overhead = _room(device)
        needed = training.memory(known.shape, tuning, overhead=overhead)
        fits = needed.total <= room
        found.append(
            TrainingFit(
                device=device, memory=needed, fits=fits,
                batch=training.largest_batch(known.shape, tuning, room, overhead=overhead),
                instead=None if fits else training.smaller(known.shape, tuning, room, overhead=overhead),
            )
        )  # fmt: skip
    return found


def _fit(known: Known, serving: Serving, device: Device) -> Fit:
    shape, (room, overhead) = known.shape, _room(device)
    weights = known.weights.size if known.weights and not (serving.quantization or serving.dtype) else 0
    one = replace(serving, batch=1)
    needed = inference.memory(shape, serving, overhead=overhead, weights=weights)
    engine, command = _engine(known, serving, device)
    return Fit(
        device=device,
        memory=needed,
        fits=needed.total <= room,
        context=inference.largest_context(shape, serving, room, overhead=overhead, weights=weights),
        batch=inference.largest_batch(shape, one, room, overhead=overhead, weights=weights),
        speed=expected(shape, serving, device),
        engine=engine,
        command=command,
    )


def _room(device: Device) -> tuple[int, int]:
    overhead = OVERHEAD_GPU if device.is_gpu else OVERHEAD_CPU
    return int(device.free - KEPT_FREE * device.memory), overhead


def _engine(known: Known, serving: Serving, device: Device) -> tuple[str, str]:
    """Return the engine that suits, and its own command line: llama.cpp for GGUF, vLLM on a GPU, else torch."""
    quantized = (serving.quantization or "").lower()
    where = known.where.removeprefix("hf:")
    short = known.name.rpartition("/")[2].partition(":")[0].strip(".") or where.rpartition("/")[2]
    if known.file or quantized.startswith(("q", "iq")):
        tokens = serving.context * serving.batch
        return (
            "llamacpp",
            f"llama-server --model {known.file or 'MODEL.gguf'} --ctx-size {tokens} --parallel {serving.batch}",
        )
    if device.is_gpu and known.shape.generates:
        command = f"vllm serve {where} --max-model-len {serving.context} --max-num-seqs {serving.batch}"
        return "vllm", command + (f" --dtype {serving.dtype}" if serving.dtype else "")
    command = f"python -m serving.engines.torch --model {where} --name {short}"
    return "torch", command + (f" --dtype {serving.dtype}" if serving.dtype else "")


def plain(known: Known) -> Mapping[str, Any]:
    """Return what is known of a model, for programs."""
    shape = known.shape
    mixers = [each.mixer for each in shape.layers]
    return {
        "model": known.name, "from": known.where, "family": shape.family, "parameters": _parameters(known),
        "active_parameters": shape.active, "layers": {each: mixers.count(each) for each in dict.fromkeys(mixers)},
        "context": shape.context, "dtype": shape.dtype, "quantization": shape.quantization or None,
        "weights": known.weights.size if known.weights else None, "not_reckoned": list(shape.unknown),
    }  # fmt: skip


def _parameters(known: Known) -> int:
    counted = known.weights.parameters if known.weights else 0
    return counted if counted and not known.shape.quantization else known.shape.parameters
