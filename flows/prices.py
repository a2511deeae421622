"""What models cost: US dollars for a million tokens, as `prices.yaml` in the workspace says.

    gpt-4o-mini*: {input: 0.15, output: 0.60}
    "*": {input: 0, output: 0}

Names may hold `*`; the longest that fits counts. No prices ship: they change, and an invoice is no place for a guess.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workspace.errors import Invalid

FILE = "prices.yaml"  # in the workspace
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens."""

    input: float
    output: float


class Prices:
    """The prices of a workspace by patterns of model names."""

    def __init__(self, known: Mapping[str, Price]) -> None:
        self._known = sorted(known.items(), key=lambda each: -len(each[0]))

    @classmethod
    def read(cls, path: Path) -> Prices:
        """Read a price list, none where there is no file; raises Invalid with the line of what is wrong."""
        if not path.is_file():
            return cls({})
        from workspace.documents import read_yaml

        document = read_yaml(path)
        if not isinstance(document.root, dict):
            raise Invalid("prices are a mapping", hint="model: {input: 0.15, output: 0.60}", at=document.at())
        known = {}
        for name, given in document.root.items():
            at = document.at(name)
            if not isinstance(given, dict) or not given.keys() <= {"input", "output"}:
                raise Invalid(f"the price of {name!r} is no mapping of input and output", at=at)
            numbers = [given.get(key, 0) for key in ("input", "output")]
            if not all(isinstance(each, int | float) and not isinstance(each, bool) and each >= 0 for each in numbers):
                raise Invalid(f"the price of {name!r} is no number of dollars", at=at)
            known[str(name)] = Price(float(numbers[0]), float(numbers[1]))
        return cls(known)

    def of(self, model: str | None, prompt: int, completion: int) -> float | None:
        """Return what tokens cost in US dollars, None where the model has no price.

        >>> Prices({"gpt-*": Price(0.15, 0.6)}).of("gpt-4o-mini", 1_000_000, 500_000)
        0.45
        """
        if not self._known or not model or not (prompt or completion):
            return None
        for pattern, price in self._known:
            if fnmatch.fnmatchcase(model, pattern):
                return round((prompt * price.input + completion * price.output) / _MILLION, 12)
        return None
