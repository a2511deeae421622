from promptflow.core import tool


@tool
def split(text: str) -> list:
    return [{"number": number, "text": part.strip()} for number, part in enumerate(text.split("\n\n"), 1)]
