from promptflow.core import tool


@tool
def sign(text: str, signature: str = "the flow") -> str:
    """Put a signature under a letter."""
    return f"{text.strip()}\n\n{signature}"
