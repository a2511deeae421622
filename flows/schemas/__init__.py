"""JSON Schemas of every format, so that editors complete and explain: made from the readers' own tables of keys."""

from __future__ import annotations

from pathlib import Path

from flows.schemas.files import Schemas

SCHEMAS = Schemas(
    Path(__file__).parent,
    {
        "flow.dag": "flows.schemas.dag",
        "flow.flex": "flows.schemas.flex",
        "prompty": "flows.schemas.prompty",
        "run": "flows.schemas.run",
        "connection": "flows.schemas.connection",
        "tool": "flows.schemas.tool",
    },
)
