"""Keep the short answer: the first line, without a leading "The answer is" and without a closing period."""

import re

from promptflow.core import tool

LEAD = re.compile(r"^(the answer is|answer:|it is|it's)\s*:?\s*", re.IGNORECASE)


@tool
def tidy(text: str) -> str:
    """Return the answer as it would be written on a quiz card."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return LEAD.sub("", lines[0]).rstrip(".! ") if lines else ""
