"""Double what was sold; a row of the table gives a row of the result."""

import argparse

import pandas as pd

factor = 0


def init() -> None:
    global factor
    parser = argparse.ArgumentParser()
    parser.add_argument("--factor", type=int)
    factor = parser.parse_known_args()[0].factor


def run(mini_batch: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"store": mini_batch["store"], "doubled": factor * mini_batch["sold"]})
