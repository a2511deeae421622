"""What a model is made of, as far as memory and speed depend on it: layers, their matrices and what they remember."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Norm = Literal["root", "layer", "gemma"]
Mixer = Literal["full", "sliding", "latent", "recurrent", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A matrix: `copies` are kept, a token meets `active` of them; `expert`: it is no module that LoRA targets by name.

    `reads` names the tensor that goes in: matrices that read the same one keep it once.
    """

    name: str
    inputs: int
    outputs: int
    bias: bool = False
    copies: int = 1
    active: int = 1
    expert: bool = False
    reads: str = ""

    @property
    def parameters(self) -> int:
        """All numbers of it, the bias included."""
        return self.copies * (self.inputs * self.outputs + self.outputs * self.bias)

    @property
    def matrix(self) -> int:
        """The numbers that are quantized where a model is."""
        return self.copies * self.inputs * self.outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer: how it mixes tokens, what it keeps of each (`cached` numbers, at most `window` tokens) and in all.

    `state` is kept once a sequence in the model's numbers, `state_wide` in float32. `feedforward` is how many
    numbers a token has within that part, `kept` how many of its functions a backward pass needs, `scanned` how many a
    recurrence goes through for each token. `norms` count numbers that are trained, `normings` how often the whole of a
    token is normalised, `normed` how much of it within the mixer.
    """

    mixer: Mixer
    linears: tuple[Linear, ...]
    heads: int = 0
    query: int = 0
    key_value: int = 0
    feedforward: int = 0
    kept: int = 0
    scanned: int = 0
    cached: int = 0
    window: int = 0
    state: int = 0
    state_wide: int = 0
    norms: int = 0
    normed: int = 0
    normings: int = 2
    others: int = 0

    @property
    def parameters(self) -> int:
        """All numbers of it."""
        return sum(each.parameters for each in self.linears) + self.norms + self.others

    @property
    def active(self) -> int:
        """The numbers that one token is multiplied with."""
        return sum(each.inputs * each.outputs * each.active for each in self.linears)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model: `embedding` and `head` count numbers (no head where it is tied), `extra` what is neither.

    `unknown` names what of the configuration was not understood: figures are then estimates.
    """

    family: str
    hidden: int
    vocabulary: int
    layers: tuple[Layer, ...]
    embedding: int
    head: int = 0
    extra: int = 0
    context: int = 0
    dtype: str = "bfloat16"
    quantization: str = ""
    generates: bool = True
    parallel: bool = False  # attention and feed-forward read the same tensor
    norm: Norm = "root"
    spared: bool = False  # of the matrices only experts are quantized
    drops: bool = False  # attention forgets some of its scores while training, which writes them all out
    unknown: tuple[str, ...] = field(default=())

    @property
    def parameters(self) -> int:
        """All numbers of the model."""
        return self.embedding + self.head + self.extra + sum(each.parameters for each in self.layers)

    @property
    def active(self) -> int:
        """The numbers that one token is multiplied with, the output matrix included."""
        return self.vocabulary * self.hidden * self.generates + sum(each.active for each in self.layers)

    @property
    def matrices(self) -> int:
        """The numbers in matrices of layers: what methods of quantization make smaller."""
        return sum(each.matrix for each in self.linears() if each.copies > 1 or not self.spared)

    @property
    def is_sparse(self) -> bool:
        """Whether a token meets only some experts."""
        return any(each.copies > each.active for each in self.linears())

    def linears(self) -> Iterator[Linear]:
        """Every matrix of every layer."""
        for layer in self.layers:
            yield from layer.linears
