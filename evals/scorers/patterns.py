"""Patterns that people write, found in what models say, in bounded time: some need centuries for a line of text.

They are read by Python's `re`, so that they mean what they mean there, and run by the package `regex`, which lets other
threads go on and stops when its time is over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import regex

from workspace.errors import Invalid

SECONDS = 5.0  # for one text


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern: `groups` counts its groups, `names` are those that have one."""

    text: str
    groups: int
    names: frozenset[str]
    _compiled: Any

    def search(self, text: str, *, seconds: float = SECONDS) -> Any:
        """Return the first match or None; TimeoutError where finding it takes longer."""
        try:
            return self._compiled.search(text, concurrent=True, timeout=seconds)
        except TimeoutError:
            raise TimeoutError(f"the pattern {self.text!r} takes longer than {seconds:g} seconds here") from None


def compiled(pattern: str, *, ignore_case: bool = False) -> Pattern:
    """Compile a pattern; Invalid where it is none."""
    flags = re.IGNORECASE if ignore_case else 0
    try:
        known = re.compile(pattern, flags)
        made = regex.compile(pattern, regex.IGNORECASE if ignore_case else 0)
    except (re.error, regex.error) as error:
        raise Invalid(f"{pattern!r} is no pattern: {error}", hint="a regular expression of Python's `re`") from None
    return Pattern(pattern, known.groups, frozenset(known.groupindex), made)
