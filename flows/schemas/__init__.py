"""JSON Schemas of every format, so that editors complete and explain: made from the readers' own tables of keys."""

from __future__ import annotations

from pathlib import Path

from flows.schemas import connection, dag, flex, prompty, run, tool
from flows.schemas.files import Schemas

SCHEMAS = Schemas(
    Path(__file__).parent,
    {
        "flow.dag": dag.schema,
        "flow.flex": flex.schema,
        "prompty": prompty.schema,
        "run": run.schema,
        "connection": connection.schema,
        "tool": tool.schema,
    },
)
