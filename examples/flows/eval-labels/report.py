from promptflow.core import tool


@tool
def report(accuracy: dict) -> str:
    """An aggregation node may use another one: it gets its value, not a list."""
    worst = min(accuracy, key=accuracy.get)
    return f"weakest: {worst}"
