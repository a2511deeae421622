from promptflow.core import tool


@tool
def look_closely(amount: float, reason: str) -> dict:
    return {"doubt": min(1.0, amount / 1000 + (0.5 if reason == "unknown" else 0.0))}
