from promptflow.core import tool


@tool
def compare(expected: str, given: str) -> bool:
    return expected.strip().lower() == given.strip().lower()
