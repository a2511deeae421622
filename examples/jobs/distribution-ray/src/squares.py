"""Square numbers by tasks of Ray."""

import sys
from pathlib import Path

import ray

ray.init(address="auto")


@ray.remote
def square(number: int) -> int:
    return number * number


Path(sys.argv[1]).write_text(" ".join(map(str, ray.get([square.remote(number) for number in range(5)]))))
