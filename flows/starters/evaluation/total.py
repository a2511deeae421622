from promptflow.core import log_metric, tool


@tool
def total(grades: list[str]) -> int:
    """Report the share of right answers."""
    log_metric("accuracy", grades.count("right") / len(grades) if grades else 0.0)
    return len(grades)
