"""Where the boxes of a graph stand: in layers, so that arrows lead one way and few of them cross."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def layers(names: Iterable[str], arrows: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return the names in layers, each below all that points to it, ordered so that few arrows cross.

    >>> layers("abc", [("a", "b"), ("b", "c"), ("a", "c")])
    [['a'], ['b'], ['c']]
    """
    sources: dict[str, list[str]] = {name: [] for name in names}
    targets: dict[str, list[str]] = {name: [] for name in sources}
    for source, target in arrows:
        sources[target].append(source)
        targets[source].append(target)
    depth = _depths(sources, targets)
    rows: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in sources:
        rows[depth[name]].append(name)
    for neighbours, order in ((sources, rows), (targets, rows[::-1]), (sources, rows)):
        _untangle(order, neighbours)
    return rows


def _depths(sources: Mapping[str, Sequence[str]], targets: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the longest way from any start to each name; what a cycle leaves over stands in the first layer."""
    waiting = {name: len(found) for name, found in sources.items()}
    ready = [name for name, count in waiting.items() if not count]
    depth = dict.fromkeys(sources, 0)
    while ready:
        name = ready.pop()
        for target in targets[name]:
            depth[target] = max(depth[target], depth[name] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return depth


def _untangle(rows: Sequence[list[str]], neighbours: Mapping[str, Sequence[str]]) -> None:
    place: dict[str, float] = {}
    for row in rows:
        middle = {}
        for index, name in enumerate(row):
            seen = [place[other] for other in neighbours[name] if other in place]
            middle[name] = sum(seen) / len(seen) if seen else index / max(len(row), 1)
        row.sort(key=lambda name: middle[name])
        for index, name in enumerate(row):
            place[name] = (index + 0.5) / len(row)
