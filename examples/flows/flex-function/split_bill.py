from typing import TypedDict

from promptflow.tracing import trace


class Share(TypedDict):
    each: float
    rest: float


@trace
def in_cents(amount: float) -> int:
    return round(amount * 100)


def split(total: float, people: int = 2) -> Share:
    """Split a bill so that nobody pays part of a cent."""
    cents = in_cents(total)
    return {"each": cents // people / 100, "rest": cents % people / 100}
