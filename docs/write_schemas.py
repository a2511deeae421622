"""Write the JSON Schemas of all formats: into the packages, which ship them, and into docs/schemas."""

from __future__ import annotations

from pathlib import Path

import flows.schemas
import jobs.schemas
import serving.schemas

FOLDER = Path(__file__).parent / "schemas"


if __name__ == "__main__":
    for schemas in (flows.schemas, jobs.schemas, serving.schemas):
        schemas.write()
        schemas.write(FOLDER)
