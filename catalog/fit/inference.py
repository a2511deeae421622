"""How much memory a model takes that answers: weights, what it remembers of each token, and the numbers of a step."""

from __future__ import annotations

from dataclasses import dataclass, replace

from catalog.fit.numbers import bits_of, bytes_of, is_whole
from catalog.fit.shape import Layer, Shape

WIDE = 4
PREFILL = 2048  # tokens of prompts that engines read at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """One way of answering: `batch` sequences at once, of at most `context` tokens each, prompt and answer.

    `quantization` overrides how the weights were published, `cache` the format of keys and values. `prefill`: prompt
    tokens that are read at once. `plain`: as transformers does on a processor, where a cache is laid out
    anew when it grows, and a mask or keys unlike values in width make attention write more out.
    """

    context: int = 4096
    batch: int = 1
    dtype: str = ""
    quantization: str = ""
    cache: str = ""
    prefill: int = PREFILL
    plain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingMemory:
    """Bytes at the worst moment; `overhead` is the process itself: interpreter, libraries, allocator."""

    weights: int
    cache: int
    activations: int
    overhead: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.activations + self.overhead


def memory(shape: Shape, serving: Serving, *, overhead: int = 0, weights: int = 0) -> ServingMemory:
    """Return what a model takes; `weights` is what the headers of its files say, where they were read."""
    return ServingMemory(
        weights=weights or weight_bytes(shape, serving),
        cache=cache_bytes(shape, serving),
        activations=int(_activations(shape, serving)),
        overhead=overhead,
    )


def weight_bytes(shape: Shape, serving: Serving) -> int:
    """Return the bytes of the weights: matrices of layers as quantized, the rest in the model's numbers."""
    width = bytes_of(serving.dtype or shape.dtype)
    quantization = serving.quantization or ("" if serving.dtype else shape.quantization)
    if not quantization:
        return int(shape.parameters * width)
    small = bits_of(quantization) / 8
    if is_whole(quantization):
        return int(shape.parameters * small)
    return int(shape.matrices * small + (shape.parameters - shape.matrices) * width)


def cache_bytes(shape: Shape, serving: Serving) -> int:
    """Return the bytes that all sequences take at their longest, whatever their layers keep."""
    return int(serving.batch * sum(kept(layer, shape, serving) for layer in shape.layers))


def kept(layer: Layer, shape: Shape, serving: Serving) -> float:
    """Return the bytes that a layer keeps of one sequence at its longest."""
    width = bytes_of(serving.cache or serving.dtype or shape.dtype)
    tokens = min(serving.context, layer.window or serving.context)
    return layer.cached * tokens * width + layer.state * width + layer.state_wide * WIDE


def per_token(shape: Shape, serving: Serving) -> float:
    """Return the bytes that one more token of one sequence takes, where no window is full yet."""
    return sum(each.cached for each in shape.layers) * bytes_of(serving.cache or serving.dtype or shape.dtype)


def largest_context(shape: Shape, serving: Serving, available: int, *, overhead: int = 0, weights: int = 0) -> int:
    """Return the most tokens of a sequence that `available` bytes allow, at most those the model was made for."""
    low, high = 0, shape.context or 1_000_000
    while low < high:
        middle = (low + high + 1) // 2
        if memory(shape, replace(serving, context=middle), overhead=overhead, weights=weights).total <= available:
            low = middle
        else:
            high = middle - 1
    return low


def largest_batch(shape: Shape, serving: Serving, available: int, *, overhead: int = 0, weights: int = 0) -> int:
    """Return the most sequences at once that `available` bytes allow; 0 where not even one fits."""
    low, high = 0, 65_536
    while low < high:
        middle = (low + high + 1) // 2
        if memory(shape, replace(serving, batch=middle), overhead=overhead, weights=weights).total <= available:
            low = middle
        else:
            high = middle - 1
    return low


def _activations(shape: Shape, serving: Serving) -> float:
    """The numbers of one step: the widest moment of the widest layer, and one position's scores a sequence."""
    width = bytes_of(serving.dtype or shape.dtype)
    tokens = min(serving.prefill, serving.context * serving.batch)
    moments = [max(_mixing(each, shape, serving), _feeding(each, shape)) for each in shape.layers]
    scores = serving.batch * shape.vocabulary * WIDE if shape.generates else 0
    grown = max((kept(each, shape, serving) for each in shape.layers), default=0) * serving.batch * serving.plain
    return tokens * max(moments, default=0) * width + scores + grown


def _mixing(layer: Layer, shape: Shape, serving: Serving) -> float:
    """Numbers a token has while tokens meet: as it was and normalised, queries, keys, values, what comes of them."""
    found: float = 2 * shape.hidden + 3 * layer.query + 4 * layer.key_value
    width = bytes_of(serving.dtype or shape.dtype)
    # A recurrence in Python has decays, inputs and their product before it at once, in float32.
    found += (3 * layer.scanned * WIDE) / width + 3 * layer.query * bool(layer.scanned)
    tokens = min(serving.prefill / serving.batch, serving.context)
    if serving.plain and 0 < layer.window < tokens:  # a mask, as claims and as numbers; keys and values repeated
        found += tokens * (1 + width) / width + 2 * layer.query
    if serving.plain and layer.mixer == "latent":  # scores and their softmax
        found += 2 * layer.heads * tokens * WIDE / width
    return found


def _feeding(layer: Layer, shape: Shape) -> float:
    """Numbers a token has in the feed-forward part: as it was and normalised, gate, its function, the other half."""
    return 2 * shape.hidden + max(layer.kept, 2 * layer.feedforward)
