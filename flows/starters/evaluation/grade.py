from promptflow.core import tool


@tool
def grade(expected: str, answer: str) -> str:
    """Return whether the answer names what was expected."""
    return "right" if expected.strip().casefold() in answer.casefold() else "wrong"
