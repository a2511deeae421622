"""Where things come from and what became of them: edges between assets and runs, followed in the database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Integer, and_, literal, or_, select

from workspace.database import Database
from workspace.nodes import Node, ref
from workspace.tables import assets, edges, runs


@dataclass(frozen=True, slots=True)
class Edge:
    """Data went from `source` to `target`, told by the run `run_id`."""

    source: str
    target: str
    run_id: str
    created_at: float


class Lineage:
    """The graph of one workspace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def upstream(self, node: Node | str, depth: int = 10) -> list[Edge]:
        """Return the edges that lead to `node`, over at most `depth` steps, oldest first; cycles end by themselves."""
        return self._walk(ref(node), depth, up=True)

    def downstream(self, node: Node | str, depth: int = 10) -> list[Edge]:
        """Return the edges that lead away from `node`, over at most `depth` steps, oldest first."""
        return self._walk(ref(node), depth, up=False)

    def label(self, node: Node | str) -> str:
        """Return a node in words: "data questions:1 (1f2e3d4c5b6a)", "flow run demo-short (FINISHED)"."""
        name = ref(node)
        return self._labels([name])[name]

    def tree(self, node: Node | str, depth: int = 10) -> str:
        """Return what `node` was made from, as a tree to print; a part met again is drawn once.

        >>> print(workspace.lineage.tree("report:demo:1"))
        report demo:1 (92ab3fd01c77)
        └─ eval run compare-short-long (FINISHED)
           ├─ data questions:1 (1f2e3d4c5b6a)
           └─ model smollm2-135m-instruct:1 (5af571cbf074)
        """
        top = ref(node)
        sources: dict[str, list[str]] = {}
        for edge in self.upstream(top, depth):
            sources.setdefault(edge.target, []).append(edge.source)
        labels = self._labels({top, *sources, *(name for found in sources.values() for name in found)})
        return "\n".join(_drawn(top, sources, labels))

    def _walk(self, start: str, depth: int, *, up: bool) -> list[Edge]:
        near, far = (edges.c.target, edges.c.source) if up else (edges.c.source, edges.c.target)
        walk = select(literal(start).label("node"), literal(0, Integer).label("depth")).cte("walk", recursive=True)
        # UNION, not UNION ALL: a node met twice at one depth goes on once, so that diamonds do not multiply and
        # cycles cost at most `depth` rounds.
        walk = walk.union(
            select(far, walk.c.depth + 1).select_from(walk.join(edges, near == walk.c.node)).where(walk.c.depth < depth)
        )
        reached = select(walk.c.node).where(walk.c.depth < depth)
        found = select(edges).where(near.in_(reached)).order_by(edges.c.created_at, edges.c.source, edges.c.target)
        with self._database.read() as connection:
            return [Edge(*row) for row in connection.execute(found)]

    def _labels(self, nodes: Iterable[str]) -> dict[str, str]:
        labels = {name: name for name in nodes}
        run_ids = [name[4:] for name in labels if name.startswith("run:")]
        named = [tuple(parts) for name in labels if len(parts := name.split(":")) == 3]
        with self._database.read() as connection:
            labels |= _run_labels(connection, run_ids)
            labels |= _asset_labels(connection, named)
        return labels


def _run_labels(connection: Connection, run_ids: Sequence[str]) -> dict[str, str]:
    labels = {}
    for part in _parts(run_ids):
        query = select(runs.c.run_id, runs.c.kind, runs.c.name, runs.c.status).where(runs.c.run_id.in_(part))
        for run_id, kind, name, status in connection.execute(query):
            labels[f"run:{run_id}"] = f"{kind} run {name} ({status})"
    return labels


def _asset_labels(connection: Connection, named: Sequence[tuple[str, ...]]) -> dict[str, str]:
    labels = {}
    columns = (assets.c.kind, assets.c.name, assets.c.version)
    for part in _parts(named):
        wanted = or_(*(and_(*(column == value for column, value in zip(columns, row, strict=True))) for row in part))
        for kind, name, version, digest in connection.execute(select(*columns, assets.c.digest).where(wanted)):
            short = digest.removeprefix("sha256:")[:12]
            labels[f"{kind}:{name}:{version}"] = f"{kind} {name}:{version} ({short})"
    return labels


def _parts(items: Sequence[tuple[str, ...]] | Sequence[str], size: int = 200) -> Iterable[Sequence[tuple[str, ...]]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]  # type: ignore[misc]


def _drawn(top: str, sources: dict[str, list[str]], labels: dict[str, str]) -> list[str]:
    lines: list[str] = []
    drawn: set[str] = set()
    # A stack, not recursion: (node, what stands before it, what stands before what is under it).
    stack = [(top, "", "")]
    while stack:
        node, before, under = stack.pop()
        again = node in drawn and bool(sources.get(node))
        lines.append(before + labels[node] + (" …as above" if again else ""))
        if again:
            continue
        drawn.add(node)
        found = sources.get(node, [])
        for index, source in reversed(list(enumerate(found))):
            last = index == len(found) - 1
            stack.append((source, under + ("└─ " if last else "├─ "), under + ("   " if last else "│  ")))
    return lines
