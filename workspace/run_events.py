"""What a run tells the world about itself, in OpenLineage's words."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

# By the status of the run: OpenLineage's words.
WORDS = {"FINISHED": "COMPLETE", "FAILED": "FAIL", "KILLED": "ABORT", "PAUSED": "OTHER"}
_SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"


def lineage_event(
    what: str, *, run_id: str, kind: str, name: str, inputs: Iterable[str] = (), outputs: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the event that a run starts or ends: `what` is START or one of WORDS."""
    return {
        "eventType": what,
        "eventTime": datetime.now(UTC).isoformat(),
        "producer": "urn:studiolo",
        "schemaURL": _SCHEMA,
        "run": {"runId": str(uuid.UUID(run_id))},
        "job": {"namespace": "studiolo", "name": f"{kind}/{name}"},
        "inputs": [{"namespace": "studiolo", "name": each} for each in inputs],
        "outputs": [{"namespace": "studiolo", "name": each} for each in outputs],
    }
