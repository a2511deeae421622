from promptflow.core import tool

_TRIES: dict[str, int] = {}


@tool
def measure(place: str) -> dict:
    """Stands for a station whose first two calls fail."""
    _TRIES[place] = _TRIES.get(place, 0) + 1
    if _TRIES[place] < 3:
        raise ConnectionError(f"the station of {place} does not answer")
    return {"degrees": 7 + len(place), "wind": "north-east"}
