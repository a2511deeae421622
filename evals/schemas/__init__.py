"""JSON Schemas of evaluation files, so that editors complete and explain: made from the readers' keys."""

from __future__ import annotations

from pathlib import Path

from evals.schemas import task
from flows.schemas.files import Schemas

SCHEMAS = Schemas(Path(__file__).parent, {"eval.task": task.schema})
