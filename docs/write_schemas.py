"""Write the JSON Schemas of all formats: into the packages, which ship them, and into docs/schemas."""

from __future__ import annotations

from pathlib import Path

from evals import schemas as of_evals
from flows import schemas as of_flows
from jobs import schemas as of_jobs
from serving import schemas as of_serving

FOLDER = Path(__file__).parent / "schemas"


if __name__ == "__main__":
    for package in (of_evals, of_flows, of_jobs, of_serving):
        package.SCHEMAS.write()
        package.SCHEMAS.write(FOLDER)
