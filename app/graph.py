"""Graphs of boxes and arrows: laid out in layers here, drawn and made clickable in the browser by graph.js."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from flows.layers import layers as layers

WIDTH, HEIGHT = 192, 50
_GAP, _BETWEEN = 16, 40
_LONGEST = 23  # letters of a title that fit a box
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A thing to draw; `tone` colours its mark, `note` stands in its corner."""

    id: str
    title: str
    kind: str
    tone: str = "gray"
    note: str = ""


def draw(boxes: Sequence[Box], arrows: Sequence[tuple[str, str]], *, chosen: str, key: str) -> str | None:
    """Draw a graph, to the right or, where that is too wide, down; return the id of a box that was just clicked."""
    show = st.components.v2.component(
        "studiolo_graph",
        html='<div class="graph"></div>\n',
        css=(_HERE / "graph.css").read_text(),
        js=(_HERE / "graph.js").read_text(),
    )
    ways = [picture(boxes, arrows, chosen=chosen, down=down) for down in (False, True)]
    result = show(key=key, data=ways, on_chosen_change=lambda: None)
    clicked: str | None = result.chosen
    return clicked


def picture(
    boxes: Sequence[Box], arrows: Sequence[tuple[str, str]], *, chosen: str = "", down: bool = False
) -> dict[str, Any]:
    """Return the drawing as plain data: boxes with places, arrows with their two ends."""
    rows = layers([box.id for box in boxes], arrows)
    step, span = (HEIGHT + _BETWEEN, WIDTH + _GAP) if down else (WIDTH + _BETWEEN, HEIGHT + _GAP)
    broadest = max((len(row) for row in rows), default=0)
    places: dict[str, tuple[float, float]] = {}
    for depth, row in enumerate(rows):
        start = (broadest - len(row)) * span / 2
        for index, name in enumerate(row):
            across, along = 2 + start + index * span, 2 + depth * step
            places[name] = (across, along) if down else (along, across)
    return {
        "nodes": [_drawn(box, places[box.id], chosen=box.id == chosen) for box in boxes],
        "edges": [{"points": _ends(places[source], places[target], down=down)} for source, target in arrows],
        "width": max((x for x, _ in places.values()), default=0) + WIDTH + 4,
        "height": max((y for _, y in places.values()), default=0) + HEIGHT + 4,
        "down": down,
        "alt": f"graph of {len(boxes)} boxes and {len(arrows)} arrows",
    }


def _drawn(box: Box, place: tuple[float, float], *, chosen: bool) -> dict[str, Any]:
    title = box.title if len(box.title) <= _LONGEST else f"{box.title[: _LONGEST - 1]}…"
    return {
        "id": box.id, "title": title, "full": box.title, "kind": box.kind, "tone": box.tone, "note": box.note,
        "chosen": chosen, "x": place[0], "y": place[1], "width": WIDTH, "height": HEIGHT,
    }  # fmt: skip


def _ends(source: tuple[float, float], target: tuple[float, float], *, down: bool) -> list[float]:
    if down:
        return [source[0] + WIDTH / 2, source[1] + HEIGHT, target[0] + WIDTH / 2, target[1] - 1]
    return [source[0] + WIDTH, source[1] + HEIGHT / 2, target[0] - 1, target[1] + HEIGHT / 2]
