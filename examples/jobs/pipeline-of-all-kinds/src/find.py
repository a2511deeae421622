"""Find the words that the rule is for."""

import argparse
from pathlib import Path

length = 0


def init() -> None:
    global length
    parser = argparse.ArgumentParser()
    parser.add_argument("--rule", type=Path)
    length = int((parser.parse_known_args()[0].rule / "length.txt").read_text())


def run(mini_batch: list[str]) -> list[str]:
    words = {Path(path).name: Path(path).read_text().split() for path in mini_batch}
    return [f"{name} {sum(len(word) == length for word in found)}" for name, found in words.items()]
