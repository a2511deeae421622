from promptflow.core import tool


@tool
def sort(amount: float, reason: str) -> dict:
    return {"route": "refund" if amount < 50 and reason != "unknown" else "look"}
