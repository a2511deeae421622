"""The next token of each row, chosen as its request asked, and how likely the model held it."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from serving.engines.drawing import Draw, draw
from serving.engines.requests import Sampling

NOT_FINITE = "the model produced numbers that are not finite"
SCORED_AT_ONCE = 64  # rows of a prompt whose probabilities are computed together: bounds the memory they take


class Grammar(Protocol):
    """What one answer may look like; it lives as long as the answer does."""

    @property
    def failure(self) -> str | None:
        """Why it can no longer be followed, if so."""

    def mask(self, row: torch.Tensor) -> None:
        """Set to minus infinity what may not come next, in one row of float32 logits."""

    def accept(self, token: int) -> None:
        """Take note of the token that came."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A token; where asked for, its log probability and the likeliest tokens in its place, best first.

    Probabilities are the model's own: before temperature, penalties, biases and grammars.
    """

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Chooser:
    """One answer's way of choosing, with its own random numbers: the same seed gives the same choices.

    `plain` rows are chosen from the logits as they are; the others are adjusted first, which costs them a copy.
    """

    def __init__(self, sampling: Sampling, grammar: Grammar | None = None) -> None:
        self.greedy = sampling.temperature == 0 or sampling.top_p == 0
        self.scored = sampling.logprobs
        self._temperature = sampling.temperature
        self._top_p = sampling.top_p
        self._random = torch.Generator()
        seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
        self._random.manual_seed(seed)
        self._grammar = grammar
        self._presence = sampling.presence_penalty
        self._frequency = sampling.frequency_penalty
        self._seen: Counter[int] = Counter()
        self._biases = sampling.logit_bias
        self._penalised = bool(self._presence or self._frequency)
        self.failure = NOT_FINITE  # why there is no next token, where there is none
        self.plain = grammar is None and not self._penalised and not self._biases

    def draw(self) -> Draw:
        """Return how the next token is drawn; each has its own number."""
        number = float(torch.rand((), dtype=torch.float64, generator=self._random))
        return Draw(self._temperature, self._top_p, number)

    def choose_adjusted(self, logits: torch.Tensor) -> int | None:
        """Return a token from one row after penalties, biases and the grammar, or None, which is a failure."""
        row = logits.to("cpu", torch.float32, copy=True)
        if self._seen:
            seen = torch.tensor(list(self._seen))
            times = torch.tensor(list(self._seen.values()), dtype=torch.float32)
            row[seen] -= self._presence + self._frequency * times
        if self._biases:
            row[torch.tensor([token for token, _ in self._biases])] += torch.tensor([bias for _, bias in self._biases])
        if self._grammar:
            self._grammar.mask(row)
            if self._grammar.failure:
                self.failure = f"the grammar cannot be followed: {self._grammar.failure}"
                return None
        token = int(row.argmax()) if self.greedy else draw(row[None], [self.draw()])[0]
        if self._penalised:
            self._seen[token] += 1
        if self._grammar:
            self._grammar.accept(token)
        return token


def choose(logits: torch.Tensor, choosers: Sequence[Chooser]) -> list[Chosen | None]:
    """Return the next token of each row; None where the row's numbers are not finite."""
    best, tokens = logits.float().max(dim=-1)
    likeliest: list[int] = tokens.tolist()
    sound: list[bool] = torch.isfinite(best).tolist()  # NaN and +inf win every maximum
    drawn = [row for row, chooser in enumerate(choosers) if sound[row] and chooser.plain and not chooser.greedy]
    if drawn:
        found = draw(logits if len(drawn) == len(logits) else logits[drawn], [choosers[row].draw() for row in drawn])
        for row, token in zip(drawn, found, strict=True):
            likeliest[row] = token
    taken: list[int | None] = [
        None if not fine else token if chooser.plain else chooser.choose_adjusted(row)
        for fine, token, chooser, row in zip(sound, likeliest, choosers, logits, strict=True)
    ]
    chosen = [None if token is None else Chosen(token) for token in taken]
    scored = [row for row, one in enumerate(chosen) if one and choosers[row].scored is not None]
    if scored:
        tops = [choosers[row].scored or 0 for row in scored]
        told = score(logits[scored], [one.token for row in scored if (one := chosen[row])], max(tops))
        for row, top, one in zip(scored, tops, told, strict=True):
            chosen[row] = replace(one, top=one.top[:top])
    return chosen


def score(logits: torch.Tensor, tokens: Sequence[int], top: int) -> list[Chosen]:
    """Return how likely each row held the token that came after it, with its `top` likeliest tokens."""
    found: list[Chosen] = []
    for start in range(0, len(tokens), SCORED_AT_ONCE):
        some = tokens[start : start + SCORED_AT_ONCE]
        rows = logits[start : start + len(some)].float().log_softmax(dim=-1)
        given = rows.gather(1, torch.tensor(some, device=rows.device)[:, None])[:, 0].tolist()
        if not top:
            found += [Chosen(token, logprob) for token, logprob in zip(some, given, strict=True)]
            continue
        best = rows.topk(top, dim=-1)
        tops = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        for token, logprob, (places, values) in zip(some, given, tops, strict=True):
            found.append(Chosen(token, logprob, tuple(zip(places, values, strict=True))))
    return found
