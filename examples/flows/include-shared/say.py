import json
import os

from promptflow.core import tool


@tool
def say(distance: float, mood: str = "plain", **rest) -> str:
    """An empty literal leaves the default; names the function does not list arrive in `rest`."""
    word = json.loads(os.environ["WORDS"])["km"]
    return f"{mood}: {distance} {word}{'!' * rest['emphasis']}"
