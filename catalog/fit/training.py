"""How much memory training takes: weights, adapters, gradients, the optimizer, and what the backward pass needs again.

`docs/fit.md` derives every term and shows how far off they were where it was measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from catalog.fit.numbers import bits_of, bytes_of
from catalog.fit.shape import Layer, Linear, Shape
from workspace.errors import Invalid

Adapter = Literal["full", "lora", "rslora", "dora", "qlora"]
ALL_LINEAR = "all-linear"
WIDE = 4  # bytes of a float32
# Numbers that an optimizer keeps for each trained one, and the bytes of one where that is not the trained number's own.
OPTIMIZERS: dict[str, tuple[float, float]] = {
    "adamw": (2, 0), "adamw_torch": (2, 0), "adamw_torch_fused": (2, 0), "adam": (2, 0), "adamw_8bit": (2, 1.0),
    "adamw_bnb_8bit": (2, 1.0), "paged_adamw_8bit": (2, 1.0), "lion": (1, 0), "sgd": (0, 0), "sgd_momentum": (1, 0),
    "adafactor": (0.01, 0), "rmsprop": (1, 0),
}  # fmt: skip
MOST_BATCH = 4096
_HALVES = frozenset({"gate_proj", "up_proj", "down_proj"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """One way of training: `batch` sequences of `tokens` at once, padding included.

    `dtype` is what is computed in, `weights` what the base is kept in (empty: the same), `trained` what trained numbers
    are kept in: float32 for adapters (PEFT's default), the weights' own where all are trained. `logits`: for how many
    positions the vocabulary is scored at once; 0 for all. `dense`: attention writes its scores out. `masked`: rows are
    padded or packed, so that attention is given a mask.
    """

    adapter: Adapter = "lora"
    rank: int = 8
    targets: tuple[str, ...] = (ALL_LINEAR,)
    batch: int = 1
    tokens: int = 1024
    dtype: str = "bfloat16"
    weights: str = ""
    trained: str = ""
    optimizer: str = "adamw"
    checkpointing: bool = False
    dropout: float = 0.0
    logits: int = 0
    dense: bool = False
    masked: bool = False

    def __post_init__(self) -> None:
        if self.adapter not in get_args(Adapter):
            raise Invalid(f"no adapter {self.adapter!r}", hint=f"known: {', '.join(get_args(Adapter))}")
        if self.optimizer not in OPTIMIZERS:
            raise Invalid(f"no optimizer {self.optimizer!r}", hint=f"known: {', '.join(OPTIMIZERS)}")
        if min(self.batch, self.tokens, self.rank) < 1:
            raise Invalid("batch, tokens and rank must be at least 1")
        bytes_of(self.dtype)

    @property
    def kept(self) -> float:
        """Bytes of a number of the base that is not quantized."""
        return bytes_of(self.weights or self.dtype)

    @property
    def learnt(self) -> float:
        """Bytes of a number that is trained."""
        if self.trained:
            return bytes_of(self.trained)
        return self.kept if self.adapter == "full" else WIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingMemory:
    """Bytes at the worst moment of a step; `overhead` is the process itself: interpreter, libraries, allocator."""

    weights: int
    adapters: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    overhead: int

    @property
    def total(self) -> int:
        """All of it: the worst moment is when the backward pass begins, or when it ends and gradients are whole."""
        return self.weights + self.adapters + self.optimizer + self.overhead + self.moving

    @property
    def moving(self) -> int:
        """What comes and goes with each step: as activations leave, gradients come."""
        return max(self.activations + self.logits, self.gradients)


def memory(shape: Shape, tuning: Tuning, *, overhead: int = 0) -> TrainingMemory:
    """Return what a step takes, from the second on, when the optimizer has its state."""
    adapters = trainable(shape, tuning) if tuning.adapter != "full" else 0
    learnt = adapters or shape.parameters
    # Tied embeddings get their gradient in two parts, which are there together before they are added.
    twice = 0 if adapters or shape.head or not shape.generates else shape.embedding
    numbers, width = OPTIMIZERS[tuning.optimizer]
    return TrainingMemory(
        weights=int(_weights(shape, tuning)),
        adapters=int(adapters * tuning.learnt),
        gradients=int((learnt + twice) * tuning.learnt),
        optimizer=int(learnt * numbers * (width or tuning.learnt)),
        activations=int(_activations(shape, tuning)),
        logits=int(_logits(shape, tuning)),
        overhead=overhead,
    )


def trainable(shape: Shape, tuning: Tuning) -> int:
    """Return how many numbers are trained: of LoRA, two thin matrices beside each target; of DoRA, lengths too."""
    if tuning.adapter == "full":
        return shape.parameters
    found = 0
    for each in shape.linears():
        if _is_target(each, shape, tuning):
            rank = tuning.rank * (1 + (each.expert and each.name == "gate_up_proj"))  # of both halves
            thin = rank * (each.inputs + each.outputs) + each.outputs * (tuning.adapter == "dora")
            found += each.copies * thin
    if not found:
        raise Invalid(
            f"the model has no {' or '.join(tuning.targets)}",
            hint=f"it has {', '.join(dict.fromkeys(each.name for each in shape.linears()))}",
        )
    return found


def largest_batch(shape: Shape, tuning: Tuning, available: int, *, overhead: int = 0) -> int:
    """Return the most sequences at once that `available` bytes allow; 0 where not even one fits."""
    low, high = 0, MOST_BATCH
    while low < high:
        middle = (low + high + 1) // 2
        if memory(shape, replace(tuning, batch=middle), overhead=overhead).total <= available:
            low = middle
        else:
            high = middle - 1
    return low


def smaller(shape: Shape, tuning: Tuning, available: int, *, overhead: int = 0) -> Tuning | None:
    """Return the next smaller way that fits: fewer sequences, checkpointing, shorter ones; None where none does."""
    for each in (tuning, replace(tuning, checkpointing=True)):
        if most := largest_batch(shape, each, available, overhead=overhead):
            return replace(each, batch=min(most, tuning.batch))
    shorter = replace(tuning, checkpointing=True, batch=1)
    while shorter.tokens >= 128:
        shorter = replace(shorter, tokens=shorter.tokens // 2)
        if memory(shape, shorter, overhead=overhead).total <= available:
            return shorter
    return None


def _weights(shape: Shape, tuning: Tuning) -> float:
    if tuning.adapter == "qlora":
        return shape.matrices * bits_of("nf4") / 8 + (shape.parameters - shape.matrices) * tuning.kept
    # Under autocast a trained float32 weight has a narrow copy for as long as the step lasts.
    copied = tuning.adapter == "full" and bytes_of(tuning.dtype) < tuning.kept
    return shape.parameters * tuning.kept + shape.matrices * bytes_of(tuning.dtype) * copied


def _is_target(linear: Linear, shape: Shape, tuning: Tuning) -> bool:
    """Whether LoRA is put beside a matrix.

    Experts lie in one tensor, which no module's name reaches: PEFT adapts them and their router where all shall be,
    and then leaves out the dense blocks beside them.
    """
    if ALL_LINEAR in tuning.targets:
        return linear.expert or not (shape.is_sparse and linear.name in _HALVES)
    return not linear.expert and linear.name in tuning.targets


def _activations(shape: Shape, tuning: Tuning) -> float:
    """Bytes that wait for the backward pass: of all layers, or their inputs and one layer's."""
    tokens = tuning.batch * tuning.tokens
    each = [saved(layer, shape, tuning) for layer in shape.layers]
    whole = [_adapted_experts(layer, shape, tuning) for layer in shape.layers]
    if not tuning.checkpointing:
        return tokens * sum(each) + sum(whole)
    width = bytes_of(tuning.dtype)
    return tokens * (len(each) * shape.hidden * width + max(each, default=0)) + max(whole, default=0)


def _adapted_experts(layer: Layer, shape: Shape, tuning: Tuning) -> float:
    """Adapted experts are added up before they are used: their sum is as large as they are, and is kept."""
    adapted = (each for each in layer.linears if each.copies > 1 and _is_target(each, shape, tuning))
    return 0 if tuning.adapter == "full" else sum(each.matrix for each in adapted) * bytes_of(tuning.dtype)


def saved(layer: Layer, shape: Shape, tuning: Tuning) -> float:
    """Return the bytes that a layer keeps of one token until the backward pass has come to it."""
    width = bytes_of(tuning.dtype)
    full = tuning.adapter == "full"
    # A root-mean-square norm keeps its input in float32, and what it scales where its weights are trained.
    scaled = {"root": WIDE + width * full, "gemma": WIDE + WIDE * full, "layer": width}[shape.norm]
    norms = (layer.normings * shape.hidden + layer.normed) * scaled
    return norms + _inputs(layer, shape, tuning) + _mixer(layer, shape, tuning) + layer.kept * width


def _inputs(layer: Layer, shape: Shape, tuning: Tuning) -> float:
    """What matrices read, which the gradient of a matrix is made of: only of those that are trained."""
    width = bytes_of(tuning.dtype)
    if tuning.adapter == "full":
        return width * sum({each.reads: each.inputs * each.active for each in layer.linears}.values())
    targets = [each for each in layer.linears if _is_target(each, shape, tuning)]
    ranks = len(targets) * tuning.rank * tuning.learnt
    dropped = sum(each.inputs * each.active for each in targets) * (1 + tuning.learnt) if tuning.dropout else 0
    if width < tuning.learnt:  # each adapter has a wide copy of its own
        return sum(each.inputs * each.active for each in targets) * tuning.learnt + ranks + dropped
    once = {each.reads: each.inputs * each.active for each in targets}
    return width * sum(once.values()) + ranks + dropped


def _mixer(layer: Layer, shape: Shape, tuning: Tuning) -> float:
    """Queries, keys, values and what comes of them; a number a head for the softmax, or all its scores."""
    width = bytes_of(tuning.dtype)
    if layer.mixer == "none":
        return 0
    if layer.mixer == "recurrent":
        return 8 * layer.query * width + 3 * layer.scanned * WIDE
    scores: float = layer.heads * WIDE
    if tuning.dense or shape.drops:
        scores = layer.heads * tuning.tokens * (2 * WIDE + 1) + 3 * layer.query * width + 2 * shape.hidden
    # What comes of them is the input of the next matrix: counted there where it is kept as it is.
    reads = [each for each in layer.linears if each.reads == "mixed"]
    there = tuning.adapter == "full" or (
        width >= tuning.learnt and any(_is_target(each, shape, tuning) for each in reads)
    )
    # With a mask, keys and values are repeated for every query head, and the mask is kept as numbers.
    masked = tuning.masked or 0 < layer.window < tuning.tokens
    key_value = max(layer.query, layer.key_value) if masked else layer.key_value
    scores += tuning.tokens * width * masked
    return ((1 if there else 2) * layer.query + 2 * key_value) * width + scores


def _logits(shape: Shape, tuning: Tuning) -> float:
    """Logarithms of the scores of the vocabulary, their gradient and that of the scores, in float32."""
    positions = tuning.batch * tuning.tokens
    positions = min(positions, tuning.logits or positions)
    return positions * shape.vocabulary * 3 * WIDE
