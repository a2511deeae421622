"""Write the JSON Schemas of all formats: into the package, which ships them, and into docs/schemas."""

from __future__ import annotations

from pathlib import Path

from flows import schemas

FOLDER = Path(__file__).parent / "schemas"


if __name__ == "__main__":
    schemas.write()
    schemas.write(FOLDER)
