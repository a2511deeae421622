"""Runs as one HTML page that needs nothing else: the graph, what each node took, and each line with all that happened.

Whatever a flow or a model wrote is data in the page, set as text; the page runs no script but its own, fetches nothing.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from flows.flow import Flow
from flows.layers import layers
from flows.results import BYPASSED, COMPLETED, FAILED, LOG, LineRecord, NodeRecord, SpanRecord, last_lines
from workspace.errors import Invalid
from workspace.runs import RunRecord

MOST_LINES = 1_000  # that can be opened, of each run
MOST_FAILED = 200  # beyond them
LONGEST = 4_000  # characters of one value
LARGEST = 20_000_000  # characters of all values
WIDTH, HEIGHT = 184, 58
_GAP, _BETWEEN = 18, 44
_OURS = ("lines.", "tokens.")


@dataclass(slots=True)
class _NodeSum:
    """One node over all lines."""

    type: str = ""
    statuses: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    slowest: float = 0.0
    tokens: int = 0
    cost: float | None = None

    def add(self, node: NodeRecord) -> None:
        self.type = node.type
        self.statuses[node.status] = self.statuses.get(node.status, 0) + 1
        if node.status != BYPASSED:
            took = node.ended_at - node.started_at
            self.seconds += took
            self.slowest = max(self.slowest, took)
        self.tokens += sum(node.tokens)
        self.cost = self.cost if node.cost is None else (self.cost or 0.0) + node.cost


@dataclass(slots=True)
class _Room:
    """How much may still be put on the page."""

    left: int = LARGEST

    def shown(self, value: Any) -> str:
        """Return a value as text, cut where it is too long for the page."""
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2, default=repr)
        most = min(LONGEST, max(self.left, 0))
        if len(text) > most:
            text = f"{text[:most]}… ({len(text):,} characters)"
        self.left -= len(text)
        return text


def page(records: Sequence[RunRecord], flows: Mapping[str, Flow] | None = None) -> str:
    """Return the page of one run, or of several side by side; `flows` are the flows by run id, for their arrows."""
    if not records:
        raise Invalid("name at least one run")
    room = _Room(LARGEST)
    runs, rows = [], dict[int, list[Any]]()
    for place, record in enumerate(records):
        sums: dict[str, _NodeSum] = {}
        lines = 0
        for line in _kept(record, sums):
            row = rows.setdefault(line.number, [None] * len(records))
            row[place] = _line(line, room)
            lines += 1
        runs.append(_run(record, (flows or {}).get(record.run_id), sums) | {"kept": lines})
    return _written(
        " · ".join(record.name for record in records),
        {"runs": runs, "rows": [{"number": number, "cells": rows[number]} for number in sorted(rows)]},
    )


def picture(flow: Flow | None, names: Sequence[str], *, down: bool = False) -> dict[str, Any]:
    """Return where the nodes stand and the arrows between them, as plain data."""
    arrows = _arrows(flow) if flow else []
    listed = [node.name for node in flow.nodes] if flow else list(names)
    step, span = (HEIGHT + _BETWEEN, WIDTH + _GAP) if down else (WIDTH + _BETWEEN, HEIGHT + _GAP)
    rows = layers(listed, arrows)
    broadest = max((len(row) for row in rows), default=0)
    places: dict[str, tuple[float, float]] = {}
    for depth, row in enumerate(rows):
        for index, name in enumerate(row):
            across, along = 4 + (broadest - len(row)) * span / 2 + index * span, 4 + depth * step
            places[name] = (across, along) if down else (along, across)
    return {
        "boxes": [{"name": name, "x": x, "y": y, "width": WIDTH, "height": HEIGHT} for name, (x, y) in places.items()],
        "arrows": [_ends(places[source], places[target], down=down) for source, target in arrows],
        "width": max((x for x, _ in places.values()), default=0) + WIDTH + 8,
        "height": max((y for _, y in places.values()), default=0) + HEIGHT + 8,
        "down": down,
    }


def _arrows(flow: Flow) -> list[tuple[str, str]]:
    names = {node.name for node in flow.nodes}
    found = [(each.source, node.name) for node in flow.nodes for each in node.references() if each.source in names]
    return list(dict.fromkeys(found))


def _ends(source: tuple[float, float], target: tuple[float, float], *, down: bool) -> list[float]:
    if down:
        return [source[0] + WIDTH / 2, source[1] + HEIGHT, target[0] + WIDTH / 2, target[1] - 2]
    return [source[0] + WIDTH, source[1] + HEIGHT / 2, target[0] - 2, target[1] + HEIGHT / 2]


def _kept(record: RunRecord, sums: dict[str, _NodeSum]) -> Iterator[LineRecord]:
    """Yield the lines that are shown; all of them count."""
    kept = failed = 0
    for line in last_lines(record.directory / LOG):
        for node in line.nodes:
            sums.setdefault(node.name, _NodeSum()).add(node)
        if kept < MOST_LINES or (line.status == FAILED and failed < MOST_FAILED):
            failed += kept >= MOST_LINES
            kept += 1
            yield line


def _run(record: RunRecord, flow: Flow | None, sums: Mapping[str, _NodeSum]) -> dict[str, Any]:
    counts = {name: int(record.metrics.get(f"lines.{name}", 0)) for name in ("completed", "failed", "waiting")}
    known = {key: value for key, value in record.metrics.items() if not key.startswith(_OURS) and key != "cost"}
    tokens = [int(record.metrics.get(f"tokens.{name}", 0)) for name in ("prompt", "completion")]
    return {
        "name": record.name,
        "status": record.status,
        "started": record.started_at,
        "seconds": record.duration,
        "error": record.error,
        "about": {
            "flow": record.params.get("flow"), "variant": record.params.get("variant") or None,
            "version": str(record.params.get("flow_digest") or "")[:19] or None, "data": record.params.get("data"),
        },
        "lines": counts,
        "tokens": tokens,
        "cost": record.metrics.get("cost"),
        "metrics": known,
        "nodes": [_node_sum(name, flow, sums.get(name)) for name in _names(flow, sums)],
        "pictures": [picture(flow, _names(flow, sums), down=down) for down in (False, True)],
    }  # fmt: skip


def _names(flow: Flow | None, sums: Mapping[str, _NodeSum]) -> list[str]:
    listed = [node.name for node in flow.nodes] if flow else []
    return [*listed, *([] if flow else sums)]


def _node_sum(name: str, flow: Flow | None, found: _NodeSum | None) -> dict[str, Any]:
    node = flow.node(name) if flow else None
    told = found or _NodeSum()
    ran = sum(count for status, count in told.statuses.items() if status != BYPASSED)
    return {
        "name": name,
        "type": node.type if node else told.type,
        "aggregation": bool(node and node.aggregation),
        "statuses": told.statuses,
        "tone": _tone(told.statuses),
        "mean": told.seconds / ran if ran else None,
        "slowest": told.slowest if ran else None,
        "tokens": told.tokens,
        "cost": told.cost,
    }


def _tone(statuses: Mapping[str, int]) -> str:
    if statuses.get(FAILED):
        return "bad"
    return "good" if statuses.get(COMPLETED) else "quiet"


def _line(line: LineRecord, room: _Room) -> dict[str, Any]:
    _, seconds, _, tokens, cost, _ = line.summary()
    return {
        "status": line.status,
        "inputs": room.shown(dict(line.inputs)),
        "outputs": None if line.outputs is None else room.shown(dict(line.outputs)),
        "error": line.error and room.shown(line.error),
        "seconds": seconds,
        "tokens": sum(tokens),
        "cost": cost,
        "began": min((node.started_at for node in line.nodes if node.started_at), default=0.0),
        "nodes": [_node(node, room) for node in line.nodes],
    }


def _node(node: NodeRecord, room: _Room) -> dict[str, Any]:
    return {
        "name": node.name,
        "type": node.type,
        "status": node.status,
        "inputs": room.shown(dict(node.inputs)),
        "output": room.shown(node.output),
        "error": node.error and room.shown(node.error),
        "began": node.started_at,
        "seconds": node.ended_at - node.started_at,
        "tokens": sum(node.tokens),
        "cost": node.cost,
        "model": node.model,
        "spans": [_span(span, room) for span in node.spans],
    }


def _span(span: SpanRecord, room: _Room) -> dict[str, Any]:
    return {
        "name": f"{span.kind} {span.name}",
        "seconds": span.ended_at - span.started_at,
        "tokens": sum(span.tokens),
        "inputs": room.shown(span.inputs),
        "output": room.shown(span.output),
        "error": span.error and room.shown(span.error),
        "spans": [_span(each, room) for each in span.spans],
    }


def _written(title: str, found: Mapping[str, Any]) -> str:
    style, script, body = (
        files("flows").joinpath(name).read_text(encoding="utf-8") for name in ("draw.css", "draw.js", "draw.html")
    )
    # ASCII only, and no character that could end the element: whatever is in the data stays data.
    data = json.dumps(found, separators=(",", ":"), default=repr)
    for character in "<>&":
        data = data.replace(character, f"\\u{ord(character):04x}")
    policy = f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; base-uri 'none'"
    head = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}; form-action \'none\'">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n</head>\n"
    )
    return (
        f'{head}{body}<script type="application/json" id="data">{data}</script>\n<script>{script}</script>\n</html>\n'
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
