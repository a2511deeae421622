import re

from promptflow.core import tool


@tool
def cite(said: str, passages: list[dict]) -> dict:
    """Put under an answer where it can be read: the passages that share most of its words."""
    spoken = words(said)
    shared = [len(spoken & words(each["text"])) for each in passages]
    kept = [each for each, count in zip(passages, shared, strict=True) if count and count == max(shared)]
    return {
        "answer": said.strip(),
        "sources": [{key: each[key] for key in ("place", "heading", "score")} for each in kept],
    }


def words(text: str) -> set[str]:
    return set(re.findall(r"\w{4,}|\d+", text.casefold()))
