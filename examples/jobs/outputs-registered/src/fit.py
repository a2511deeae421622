"""Fit a line through rows by least squares; keep it, what it says of the rows, and how well it does."""

import argparse
import csv
import json
from pathlib import Path

parser = argparse.ArgumentParser()
for name in ("rows", "model", "scored", "report"):
    parser.add_argument(f"--{name}", type=Path, required=True)
given = parser.parse_args()

with given.rows.open() as file:
    rows = [(float(row["x"]), float(row["y"])) for row in csv.DictReader(file)]
mean_x, mean_y = (sum(values) / len(rows) for values in zip(*rows, strict=True))
slope = sum((x - mean_x) * (y - mean_y) for x, y in rows) / sum((x - mean_x) ** 2 for x, _ in rows)
start = mean_y - slope * mean_x

(given.model / "line.json").write_text(json.dumps({"slope": slope, "start": start}))
(given.scored / "rows.csv").write_text("".join(f"{x},{start + slope * x}\n" for x, _ in rows))
error = sum((start + slope * x - y) ** 2 for x, y in rows)
given.report.write_text(json.dumps({"error": error}))

# Everything under ./outputs is kept with the job as well.
Path("outputs").mkdir(exist_ok=True)
Path("outputs/notes.txt").write_text(f"{len(rows)} rows\n")
