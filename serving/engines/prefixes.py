"""Keys and values of prompts that were read before: a prompt that begins alike is read from where it differs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import torch

BLOCK = 16  # tokens that are kept and found together: fewer than a usual system prompt has
MOST_BYTES = 256_000_000

_Key = tuple[int, object, tuple[int, ...]]  # the block before, whose keys and values these are, the tokens


@dataclass(frozen=True, slots=True)
class _Block:
    number: int
    taken: torch.Tensor


class Prefixes:
    """Blocks of tokens, each behind the one before it, the least lately used given up first.

    A block is found by its very tokens and those before it, never by a digest, and only under the same `owner`: the
    adapter that its keys and values were made with.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._blocks: OrderedDict[_Key, _Block] = OrderedDict()
        self._numbers = count(1)
        self.bytes = 0

    def find(self, owner: object, tokens: Sequence[int]) -> list[torch.Tensor]:
        """Return what is kept of the beginning of a prompt; at least its last token is left to be read."""
        found = self._path(owner, tokens[:-1])
        return [self._blocks[key].taken for key in found]

    def keep(self, owner: object, tokens: Sequence[int], take: Callable[[int, int], torch.Tensor]) -> None:
        """Keep the whole blocks of tokens whose keys and values exist; `take` copies those of a span."""
        found = self._path(owner, tokens)
        before = self._blocks[found[-1]].number if found else 0
        for start in range(len(found) * BLOCK, len(tokens) - BLOCK + 1, BLOCK):
            key = (before, owner, tuple(tokens[start : start + BLOCK]))
            block = _Block(next(self._numbers), take(start, start + BLOCK))
            self._blocks[key] = block
            self.bytes += block.taken.nbytes
            found.append(key)
            before = block.number
        self._use(found)
        while self.bytes > self._most:
            _, block = self._blocks.popitem(last=False)
            self.bytes -= block.taken.nbytes

    def _path(self, owner: object, tokens: Sequence[int]) -> list[_Key]:
        before, found = 0, []
        for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
            key = (before, owner, tuple(tokens[start : start + BLOCK]))
            block = self._blocks.get(key)
            if block is None:
                break
            found.append(key)
            before = block.number
        self._use(found)
        return found

    def _use(self, found: Sequence[_Key]) -> None:
        for key in reversed(found):  # a block is always older than the one before it, and so is given up first
            self._blocks.move_to_end(key)
