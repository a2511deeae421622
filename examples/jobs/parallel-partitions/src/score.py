"""Sum up what each store has sold."""

import argparse

import pandas as pd

factor = 0


def init() -> None:
    global factor
    parser = argparse.ArgumentParser()
    parser.add_argument("--factor", type=int)
    factor = parser.parse_known_args()[0].factor


def run(mini_batch: pd.DataFrame, mini_batch_context: object) -> list[str]:
    store = mini_batch_context.partition_key_value["store"]
    return [f"{store} {factor * int(mini_batch['sold'].sum())}"]
