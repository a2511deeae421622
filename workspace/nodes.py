"""What lineage names: assets and runs, and the edges that a run tells of between them."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from workspace.errors import Invalid
from workspace.light_database import Row, Statements

_NODE = re.compile(r"run:[0-9a-f]{32}|[a-z]+:[^:\s]+:[^:\s]+")
_LONGEST = 400


@runtime_checkable
class Node(Protocol):
    """Anything lineage can name: an asset ("data:questions:1") or a run ("run:<id>")."""

    @property
    def ref(self) -> str:
        """Its name in the graph."""
        ...


def ref(thing: Node | str) -> str:
    """Return the name of a thing in the graph; raise Invalid where a text cannot be one."""
    name = thing if isinstance(thing, str) else thing.ref
    if not _NODE.fullmatch(name) or len(name) > _LONGEST:
        raise Invalid(f"{name!r} names no asset or run", hint="write kind:name:version or run:<id>")
    return name


def add_edges(statements: Statements, run_id: str, pairs: Sequence[tuple[str, str]]) -> None:
    """Write edges told by one run; an edge that is there already stays as it was."""
    now = time.time()
    # A microsecond apart, so that they are told and drawn in the order they were given.
    keep_edges(
        statements,
        [
            {"source": source, "target": target, "run_id": run_id, "created_at": now + index * 1e-6}
            for index, (source, target) in enumerate(pairs)
        ],
    )


def keep_edges(statements: Statements, edges: Sequence[Row]) -> None:
    """Write edges with their times; one that is there already stays as it was."""
    statements.change_many(
        "INSERT INTO edges (source, target, run_id, created_at) VALUES (:source, :target, :run_id, :created_at) "
        "ON CONFLICT DO NOTHING",
        edges,
    )
