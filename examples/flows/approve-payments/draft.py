from promptflow.core import tool


@tool
def draft(payee: str, amount: float) -> dict:
    return {"payee": payee, "amount": amount, "large": amount > 100}
