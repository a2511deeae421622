"""Code that several flows include."""

FACTORS = {"km": 1.0, "mi": 1.609344, "nmi": 1.852}


def to_km(value: float, unit: str) -> float:
    return value * FACTORS[unit]
