"""JSON Schemas of endpoint and deployment YAML, so that editors complete and explain: made from the readers' keys."""

from __future__ import annotations

from pathlib import Path

from flows.schemas.files import Schemas
from serving.schemas import deployment, endpoint

SCHEMAS = Schemas(
    Path(__file__).parent,
    {"endpoint": endpoint.schema, "deployment": deployment.schema},
)
