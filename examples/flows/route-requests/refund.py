from promptflow.core import tool


@tool
def refund(amount: float) -> str:
    return f"refunded {amount:.2f}"
