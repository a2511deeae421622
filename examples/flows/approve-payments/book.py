from promptflow.core import tool


@tool
def book(payment: dict, decision: dict) -> dict:
    paid = payment["amount"] if decision["approved"] else 0.0
    return {"payee": payment["payee"], "paid": paid, "because": decision["comment"]}
