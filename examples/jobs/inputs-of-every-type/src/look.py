"""Say what was given: for data how many files there are and how long they are."""

import argparse
import json
from pathlib import Path

parser = argparse.ArgumentParser()
for name in ("word", "count", "rate", "deep", "address"):
    parser.add_argument(f"--{name}")
data = ("file", "copied", "folder", "table", "own", "flavoured", "served")
for name in data:
    parser.add_argument(f"--{name}", type=Path)
parser.add_argument("--report", type=Path)
given = parser.parse_args()


def files_of(path: Path) -> list[Path]:
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


found = {name: getattr(given, name) for name in ("word", "count", "rate", "deep")}
found["address"] = Path(given.address.removeprefix("file://")).name
for name in data:
    files = files_of(getattr(given, name))
    found[name] = {each.name: len(each.read_bytes()) for each in files}

# What is mounted for reading cannot be written, and a copy can.
try:
    given.file.write_text("changed")
except OSError as error:
    found["written"] = type(error).__name__
given.copied.write_text("changed")

given.report.write_text(json.dumps(found, indent=1))
print(json.dumps(found, indent=1))
