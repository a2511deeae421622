"""JSON Schemas of endpoint and deployment YAML, so that editors complete and explain: made from the readers' keys."""

from __future__ import annotations

from pathlib import Path

from flows.schemas.files import Schemas

SCHEMAS = Schemas(
    Path(__file__).parent,
    {"endpoint": "serving.schemas.endpoint", "deployment": "serving.schemas.deployment"},
)
