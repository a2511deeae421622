from promptflow.tracing import trace


@trace
def words(text: str) -> list[str]:
    """Return the words of a text; `trace` makes the call a step of the flow's trace."""
    return text.split()


def answer(question: str, longest: int = 20) -> dict[str, object]:
    """Return the words of a question that are not longer than `longest`, and how many those are."""
    kept = [word for word in words(question) if len(word) <= longest]
    return {"words": kept, "count": len(kept)}
