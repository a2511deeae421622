from collections import defaultdict

from promptflow.core import log_metric, tool


@tool
def accuracy(right: list[bool], expected: list[str]) -> dict[str, float]:
    by_label = defaultdict(list)
    for label, is_right in zip(expected, right, strict=True):
        by_label[label].append(is_right)
    found = {label: sum(marks) / len(marks) for label, marks in by_label.items()}
    log_metric("accuracy", sum(right) / len(right))
    for label, value in found.items():
        log_metric(f"accuracy.{label}", value)
    return found
