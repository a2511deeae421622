"""How fast a model may answer: a token waits until the weights are read, or until they are multiplied."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.fit.devices import Device
from catalog.fit.inference import Serving, per_token, weight_bytes
from catalog.fit.shape import Shape

# What engines reach of a device's figures, from the poorest to the best that was seen (docs/fit.md).
REACHED_BANDWIDTH = (0.35, 0.85)
REACHED_ARITHMETIC = (0.15, 0.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Tokens a second of all sequences together, from the least to the most that is expected."""

    decode: tuple[float, float]
    prefill: tuple[float, float]


def expected(shape: Shape, serving: Serving, device: Device) -> Speed:
    """Return the range of tokens a second: a step reads the weights that it meets once, and each sequence's cache."""
    step = _read(shape, serving)
    work = 2 * shape.active * serving.batch
    decode = [
        serving.batch / max(step / (bandwidth * reached), work / (arithmetic * done))
        for bandwidth, reached, arithmetic, done in zip(
            device.bandwidth, REACHED_BANDWIDTH, device.arithmetic, REACHED_ARITHMETIC, strict=True
        )
    ]
    prompt = 2 * max(1, shape.active - shape.vocabulary * shape.hidden)
    prefill = [
        arithmetic * done / prompt for arithmetic, done in zip(device.arithmetic, REACHED_ARITHMETIC, strict=True)
    ]
    return Speed(decode=(decode[0], decode[1]), prefill=(prefill[0], prefill[1]))


def _read(shape: Shape, serving: Serving) -> float:
    """Bytes that one step reads: of experts those that the tokens of this step meet; half of the longest cache."""
    weights = weight_bytes(shape, serving) * _met(shape, serving.batch)
    cache = serving.batch * per_token(shape, serving) * serving.context / 2
    return weights + cache


def _met(shape: Shape, batch: int) -> float:
    """The share of the weights that the tokens of a step meet: experts are chosen as if by chance."""
    whole = max(1, shape.parameters - (shape.embedding if shape.head else 0))
    met = float(whole)
    for each in shape.linears():
        if each.copies > each.active:
            missed = (1 - each.active / each.copies) ** batch
            met -= each.matrix * missed
    return met / max(1, shape.parameters)
