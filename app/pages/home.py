"""Home: what runs, what was done last, and how to begin."""

from __future__ import annotations

from typing import Any

import streamlit as st

import studiolo
from app import parts, places
from studiolo.status import describe

_RECENT = 8
_SIGNS = {"ready": ":green[● Ready]", "starting": ":blue[◌ Starting]", "failed": ":red[✕ Failed]"}


@parts.guarded
def show() -> None:
    """Show the first page."""
    st.title("Home")
    recent = parts.workspace().runs.list(limit=_RECENT)
    if not recent:
        _first_steps()
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.subheader("Recent runs")
        _recent(recent)
    with right:
        st.subheader("What is running")
        _running()


def _first_steps() -> None:
    with st.container(border=True):
        st.subheader("Begin here")
        st.markdown(
            "The demo asks a small model 56 questions in two ways, scores the answers and tells you whether the "
            "difference is real, with a report and the lineage of every number. It takes a few minutes."
        )
        st.code("studiolo demo", language="bash")
        with st.container(horizontal=True):
            places.link("playground", "Talk to the model first", icon="forum")
            places.link("flows", "See the demo's flow", icon="account_tree", flow="demo")


def _recent(recent: list[studiolo.RunRecord]) -> None:
    if not recent:
        st.markdown("Nothing has run yet. Runs of flows, evaluations and jobs appear here.")
        return
    for run in recent:
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            places.link("runs", parts.plain(run.name), run=run.run_id)
            sign = f":{parts.tone(run)}[{parts.outcome(run)[0]}]"
            st.markdown(f":small[{sign} {parts.plain(run.kind)} · {parts.ago(run.started_at)}]", width="content")
    places.link("runs", "All runs", icon="history")
    parts.command(f"studiolo runs list --limit {_RECENT}")


@st.fragment(run_every=5)  # type: ignore[untyped-decorator]
def _running() -> None:
    with parts.errors_shown():
        now = describe(parts.workspace().home)
        if not now["running"]:
            st.markdown("The services were not started together. This starts the gateway, the API and MLflow:")
            st.code("studiolo up", language="bash")
        for service in now["services"]:
            _line(service["name"], _SIGNS.get(service["state"], f":orange[◌ {service['state'].capitalize()}]"), service)
        st.markdown("**Engines**")
        for engine in now["engines"]:
            _line(engine["model"].split(":")[1], ":green[● Loaded]", engine)
        if not now["engines"]:
            st.caption("None is loaded; the first question to a model loads it.")
        parts.command("studiolo status")


def _line(name: str, sign: str, record: dict[str, Any]) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute"):
        st.markdown(parts.plain(name), width="content")
        st.markdown(f":small[{sign} · {parts.size(record['memory'])}]", width="content")
    if record.get("message"):
        st.caption(parts.plain(record["message"]))
