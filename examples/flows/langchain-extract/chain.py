import re

from langchain_core.runnables import RunnableLambda, RunnableParallel


def dates(sentence: str) -> list[str]:
    return re.findall(r"\d{4}-\d{2}-\d{2}", sentence)


def names(sentence: str) -> list[str]:
    return re.findall(r"\b[A-Z][a-z]+\b", sentence)


chain = RunnableParallel(dates=RunnableLambda(dates), names=RunnableLambda(names))
