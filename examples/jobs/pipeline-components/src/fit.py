"""Fit y = a * x ** power by least squares, with weights where a column of them is named."""

import argparse
import csv
import json
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--rows", type=Path)
parser.add_argument("--power", type=int)
parser.add_argument("--column")
parser.add_argument("--model", type=Path)
parser.add_argument("--report", type=Path)
given = parser.parse_args()

rows = list(csv.DictReader(given.rows.open()))
above = below = 0.0
for row in rows:
    x, y = float(row["x"]) ** given.power, float(row["y"])
    weight = float(row[given.column]) if given.column else 1.0
    above += weight * x * y
    below += weight * x * x
(given.model / "line.json").write_text(json.dumps({"a": above / below, "power": given.power}))
given.report.write_text(json.dumps({"rows": len(rows), "weights": given.column}))
