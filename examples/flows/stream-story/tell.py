import time
from collections.abc import Iterator

from promptflow.core import tool


@tool
def tell(hero: str) -> Iterator[str]:
    for word in f"One evening {hero} found a door in the water.".split():
        yield f"{word} "
        time.sleep(0.01)
