"""`studiolo catalog fit`: will it run here, how long may texts be, how fast; and what would training it take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

import studiolo
from studiolo.commands.formats import Answer
from studiolo.commands.show import moment

if TYPE_CHECKING:
    from catalog.fit.fitting import Fit, Known, TrainingFit
    from catalog.fit.inference import Serving
    from catalog.fit.training import Tuning
    from studiolo.model_speeds import Measured


def fit_command(
    model: Annotated[str, typer.Argument(help="A model of this workspace, a folder, a GGUF file, or hf:AUTHOR/NAME.")],
    *,
    context: Annotated[
        int, typer.Option(min=1, help="Tokens of a text, question and answer; of a row in training.")
    ] = 4096,
    batch: Annotated[int, typer.Option(min=1, help="Texts at once.")] = 1,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 …, instead of what it was published in.")] = None,
    quant: Annotated[str | None, typer.Option(help="int8, nf4, fp8, awq, Q4_K_M …; or which GGUF file.")] = None,
    device: Annotated[str | None, typer.Option(help="H100, L4, RTX-4090 …, or cpu, instead of this machine.")] = None,
    train: Annotated[str | None, typer.Option(help="full, lora, dora or qlora: what training takes instead.")] = None,
    rank: Annotated[int, typer.Option(min=1, help="Of the adapter.")] = 8,
    checkpointing: Annotated[bool, typer.Option(help="Compute again instead of keeping, while training.")] = False,
) -> Answer:
    """Say what memory a model needs, part by part, and what fits, from a few kilobytes of its files."""
    from catalog.fit import fitting
    from catalog.fit.inference import Serving
    from catalog.fit.training import Tuning
    from studiolo import model_fit, model_speeds

    with studiolo.open_workspace() as workspace:
        known = model_fit.known(workspace, model, file=quant or "")
        seen = [] if device else model_speeds.of(workspace, model)
    devices = model_fit.asked_for(device)
    head = fitting.plain(known)
    if train is not None:
        tuning = Tuning(
            adapter=train, rank=rank, batch=batch, tokens=context, dtype=dtype or known.shape.dtype,  # type: ignore[arg-type]  # it says
            checkpointing=checkpointing,
        )  # fmt: skip
        trained = fitting.fit_training(known, tuning, devices)
        value = {**head, "training": tuning, "devices": [_with_total(each) for each in trained]}
        return Answer(value=value, words=_training(known, tuning, trained))
    serving = Serving(context=context, batch=batch, dtype=dtype or "", quantization="" if known.file else quant or "")
    found = fitting.fit(known, serving, devices)
    value = {**head, "serving": serving, "devices": [_with_total(each) for each in found], "measured": seen}
    return Answer(value=value, words="\n".join([_told(known, found, serving, seen), *_measured(seen)]))


def _with_total(found: Fit | TrainingFit) -> dict[str, Any]:
    from studiolo.plain import plain

    told: dict[str, Any] = plain(found)
    told["memory"]["total"] = found.memory.total
    return told


def _told(known: Known, found: list[Fit], serving: Serving, seen: list[Measured]) -> str:
    is_known = any(each.clients == serving.batch for each in seen)
    lines = _head(known)
    for each in found:
        memory = each.memory
        rows = {
            "weights": memory.weights, "keys and values, or states": memory.cache, "activations": memory.activations,
            "the process": memory.overhead, "together": memory.total,
        }  # fmt: skip
        lines += ["", _verdict(each, f"{serving.batch} x {serving.context:,} tokens"), *_table(rows)]
        longest = f"  {'longest text':28}{each.context:>12,} tokens" + (
            " (all it can)" if each.context == known.shape.context else ""
        )
        slow, fast = each.speed.decode
        lines += [longest, f"  {'texts at once':28}{each.batch:>12,}"] if known.shape.generates else []
        lines += (
            [f"  {'expected':28}{f'{slow:,.3g} to {fast:,.3g}':>12} tokens/s"]
            if known.shape.generates and not is_known
            else []
        )
        lines += [f"  {'engine':28}{each.engine:>12}", f"  {each.command}"]
    return "\n".join(lines)


def _measured(seen: list[Measured]) -> list[str]:
    """What this machine has reached stands for what was expected."""
    return [
        f"measured: {each.tokens_per_second:,.3g} tokens/s, {each.clients} at once, {each.engine}, {moment(each.at)}"
        for each in seen
    ]


def _training(known: Known, tuning: Tuning, found: list[TrainingFit]) -> str:
    lines = _head(known)
    for each in found:
        memory = each.memory
        rows = {
            "weights": memory.weights, "adapters": memory.adapters, "optimizer": memory.optimizer,
            "activations": memory.activations, "scores of words": memory.logits, "gradients": memory.gradients,
            "the process": memory.overhead, "at most, together": memory.total,
        }  # fmt: skip
        asked = f"{tuning.adapter}, {tuning.batch} x {tuning.tokens:,} tokens"
        lines += ["", _verdict(each, asked), *_table(rows), f"  {'largest batch':28}{each.batch:>12,}"]
        if each.instead is not None:
            small = each.instead
            words = f"{small.batch} x {small.tokens:,} tokens" + (", --checkpointing" if small.checkpointing else "")
            lines.append(f"  what would fit: {words}")
    return "\n".join(lines)


def _head(known: Known) -> list[str]:
    from catalog.fit.fitting import plain

    told, shape = plain(known), known.shape
    layers = ", ".join(f"{count} {mixer}" for mixer, count in told["layers"].items())
    sparse = f", {told['active_parameters'] / 1e9:.2f} billion met by a token" if shape.is_sparse else ""
    lines = [
        f"{known.name}: {shape.family}, {told['parameters'] / 1e9:.3g} billion parameters{sparse}",
        f"  layers: {layers}; made for {shape.context:,} tokens; published in {shape.quantization or shape.dtype}",
    ]
    if shape.unknown:
        lines.append(f"  not reckoned: {', '.join(shape.unknown)}")
    return lines


def _verdict(found: Fit | TrainingFit, asked: str) -> str:
    device = found.device
    says = "fits" if found.fits else "does not fit"
    return f"{device.name}: {asked} {says} ({_gigabytes(device.free)} of {_gigabytes(device.memory)} free)"


def _table(rows: dict[str, int]) -> list[str]:
    return [f"  {name:28}{_gigabytes(size):>12}" for name, size in rows.items() if size]


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.2f} GB"
