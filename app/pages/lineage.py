"""Lineage: from any asset or run back to what it was made from, and on to what became of it."""

from __future__ import annotations

import streamlit as st

import studiolo
from app import graph, parts, places

_TONES = {"run": "blue", "model": "violet", "data": "green", "flow": "orange", "report": "red"}
_MOST = 200


@parts.guarded
def show() -> None:
    """Show the graph around the node that the address names."""
    st.title("Lineage")
    workspace = parts.workspace()
    known = studiolo.starting_points(workspace)
    if not known:
        parts.empty(
            "No lineage yet", "Every run writes where its results came from. The demo does so:", "studiolo demo"
        )
        return
    wanted = st.query_params.get("node") or next(iter(known))
    family = studiolo.family(workspace, wanted)
    options = known if family.node in known else {family.node: family.labels[family.node], **known}
    chosen = st.selectbox(
        "Run or asset", list(options), index=list(options).index(family.node),
        format_func=lambda node: options[node], key=f"node of {family.node}",
    )  # fmt: skip
    if chosen != family.node:
        places.go("lineage", node=chosen)
    _graph(family)
    _links(family)
    parts.command(f"studiolo lineage {family.node}")


def _graph(family: studiolo.Family) -> None:
    arrows = [(edge.source, edge.target) for edge in family.edges[:_MOST]]
    names = list(dict.fromkeys([family.node, *(name for arrow in arrows for name in arrow)]))
    if not arrows:
        parts.empty("It stands alone", "Nothing was made from this, and it was made from nothing that was recorded.")
        return
    boxes = [_box(name, family.labels[name]) for name in names]
    clicked = graph.draw(boxes, arrows, chosen=family.node, key="lineage graph")
    if len(family.edges) > _MOST:
        st.caption(f"The first {_MOST} of {len(family.edges):,} steps are drawn.")
    if clicked and clicked != family.node:
        places.go("lineage", node=clicked)


def _box(name: str, label: str) -> graph.Box:
    kind, _, rest = name.partition(":")
    if kind != "run":
        return graph.Box(id=name, title=rest, kind=kind, tone=_TONES.get(kind, "gray"))
    what, _, named = label.partition(" run ")
    title, _, status = named.rpartition(" (")
    return graph.Box(id=name, title=title or name, kind=f"{what} run", tone="blue", note=status.rstrip(")").lower())


def _links(family: studiolo.Family) -> None:
    up, down = st.columns(2, gap="large")
    for column, title, names in (
        (up, "Made from", dict.fromkeys(edge.source for edge in family.upstream)),
        (down, "Became", dict.fromkeys(edge.target for edge in family.downstream)),
    ):
        with column:
            st.subheader(title)
            for name in list(names)[:_MOST]:
                places.link_node(name, parts.plain(family.labels[name]))
            if not names:
                st.markdown("Nothing that was recorded.")
    if family.node.startswith("run:"):
        places.link_node(family.node, "Open this run")
