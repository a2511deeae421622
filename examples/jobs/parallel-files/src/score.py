"""Count the lines of files, times a factor that the program is given."""

import argparse
from pathlib import Path

factor = 0


def init() -> None:
    global factor
    parser = argparse.ArgumentParser()
    parser.add_argument("--factor", type=int)
    factor = parser.parse_known_args()[0].factor


def run(mini_batch: list[str]) -> list[str]:
    return [f"{Path(path).name} {factor * len(Path(path).read_text().splitlines())}" for path in mini_batch]


def shutdown() -> None:
    print("done")
