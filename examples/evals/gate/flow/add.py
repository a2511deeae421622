"""A flow small enough to gate without a model: it reads a sum and adds it up."""

from __future__ import annotations

import re

from promptflow.core import tool


@tool
def add(question: str) -> str:
    """Return the sum of the numbers in a question: "What is 2 + 3?" is "5"."""
    return str(sum(int(number) for number in re.findall(r"-?\d+", question)))
