"""A thing, all that it was made from and all that was made from it: lineage in both directions, with words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from studiolo import nodes
from workspace.home import Workspace
from workspace.lineage import Edge


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The graph around `node`; `labels` has every node in words."""

    node: str
    upstream: tuple[Edge, ...]
    downstream: tuple[Edge, ...]
    labels: Mapping[str, str]

    @property
    def edges(self) -> tuple[Edge, ...]:
        """All edges, each once, oldest first."""
        return tuple(sorted({*self.upstream, *self.downstream}, key=lambda edge: (edge.created_at, edge.source)))


def family(workspace: Workspace, text: str, *, depth: int = 10) -> Family:
    """Return the graph around what `text` names: a run's name or id, "data:questions", "report:demo:1"."""
    node = nodes.find(workspace, text)
    up, down = workspace.lineage.upstream(node, depth), workspace.lineage.downstream(node, depth)
    names = {node, *(name for edge in (*up, *down) for name in (edge.source, edge.target))}
    labels = {name: workspace.lineage.label(name) for name in sorted(names)}
    return Family(node=node, upstream=tuple(up), downstream=tuple(down), labels=labels)
