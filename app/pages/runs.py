"""Runs: what was executed, found by kind, status and name; one run in full at its own address."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime
from typing import Any

import streamlit as st

import studiolo
from app import parts, places

_MOST = 10_000
_ASKED = 20  # questions on a page


@parts.guarded
def show() -> None:
    """Show the table, or the run that the address names."""
    if chosen := st.query_params.get("run"):
        with st.container():
            places.link("runs", "All runs", icon="arrow_back")
        _detail(parts.workspace().runs.get(chosen))
    else:
        st.title("Runs")
        _table()


def _table() -> None:
    runs = studiolo.find_runs(parts.workspace(), limit=_MOST)
    if not runs:
        parts.empty("Nothing has run yet", "The demo makes a handful of runs in a few minutes:", "studiolo demo")
        return
    kinds, statuses = sorted({run.kind for run in runs}), sorted({run.status for run in runs})
    left, middle, right = st.columns([2, 2, 3])
    kind = left.multiselect("Kind", kinds, key="kind", bind="query-params", placeholder="any")
    status = middle.multiselect("Status", statuses, key="status", bind="query-params", placeholder="any")
    text = right.text_input("Name", key="name", bind="query-params", placeholder="part of a name")
    found = studiolo.find_runs(parts.workspace(), kinds=kind, statuses=status, text=text, limit=_MOST)
    st.caption(f"{len(found):,} of {len(runs):,} runs, the newest first. Click a row to open it.")
    if found:
        _rows(found)
    else:
        parts.empty("No run is like that", "Take a filter away to see more.")
    parts.command("studiolo runs list")


def _rows(found: list[studiolo.RunRecord]) -> None:
    rows = [
        {
            "Name": run.name,
            "Status": parts.outcome(run),
            "Kind": run.kind,
            "Started": datetime.fromtimestamp(run.started_at, UTC),
            "Took": parts.duration(run.duration),
            "Metrics": ", ".join(f"{key} {value:.4g}" for key, value in list(run.metrics.items())[:4]),
        }
        for run in found
    ]
    table = st.dataframe(
        rows,
        hide_index=True,
        key="runs table",
        on_select="rerun",
        selection_mode="single-cell",
        column_config={
            "Started": st.column_config.DatetimeColumn(format="distance", width=130),
            "Name": st.column_config.TextColumn(width=250),
            "Metrics": st.column_config.TextColumn(width="large"),
        },
        alt="The runs that match the filters",
    )
    if cells := table.selection.cells:
        places.go("runs", run=found[cells[0][0]].run_id)


def _detail(run: studiolo.RunRecord) -> None:
    st.title(parts.plain(run.name))
    st.markdown(
        f":{parts.tone(run)}[{parts.outcome(run)}] · {parts.plain(run.kind)} run · began {parts.ago(run.started_at)}, "
        f"took {parts.duration(run.duration)} · `{run.run_id}`"
    )
    with st.container(horizontal=True):
        places.link("lineage", "Lineage", icon="share", node=run.ref)
        if address := studiolo.mlflow_address(parts.workspace(), run):
            st.page_link(address, label="Open in MLflow", icon=":material/open_in_new:")
    if run.error and run.status != "PAUSED":
        st.error("The run failed", icon=":material/error:")
        st.code(run.error, language=None, wrap_lines=True)
    if run.status == "PAUSED":
        _decisions(run)
    if run.metrics:
        _metrics(run)
    _artifacts(run)
    _lines(run)
    for title, content in (("Parameters", run.params), ("Tags", run.tags)):
        if content:
            st.subheader(title)
            _pairs(content)
    if run.environment:
        with st.expander("Environment: commit, packages and hardware", icon=":material/memory:"):
            st.json(dict(run.environment), expanded=1)
    parts.command(f"studiolo runs show {shlex.quote(run.name)}")


def _decisions(run: studiolo.RunRecord) -> None:
    workspace = parts.workspace()
    asked, may = studiolo.questions(workspace, run.run_id), parts.may_change()
    st.subheader("Waits for a decision" if asked else "Decided: ready to go on")
    for question in asked[:_ASKED]:
        with st.form(f"decide {question.node} {question.line}"):
            st.markdown(f"**{parts.plain(question.node)}** · line {question.line}")
            for name, value in question.shown.items():
                st.caption(parts.plain(name))
                st.code(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), language=None)
            comment = st.text_input("Comment", help="What the nodes after it may read")
            with st.container(horizontal=True):
                yes = st.form_submit_button("Approve", type="primary", icon=":material/check:", disabled=not may)
                no = st.form_submit_button("Refuse", icon=":material/close:", disabled=not may)
        if yes or no:
            with parts.errors_shown():
                studiolo.decide(
                    workspace, run.run_id, node=question.node, line=question.line, approved=yes, comment=comment
                )
                st.rerun()
    if len(asked) > _ASKED:
        st.caption(f"{len(asked) - _ASKED} more lines wait")
    if parts.change("Go on with the run", icon=":material/play_arrow:", disabled=_is_undecided(run, asked)):
        studiolo.resume_detached(workspace, run.run_id)
        st.toast("The run goes on", icon=":material/play_arrow:")
    parts.command(f"studiolo flow approve {shlex.quote(run.name)}")


def _is_undecided(run: studiolo.RunRecord, asked: list[Any]) -> bool:
    return len(asked) >= int(run.metrics.get("lines.waiting", 0))


def _metrics(run: studiolo.RunRecord) -> None:
    st.subheader("Metrics")
    with st.container(horizontal=True):
        for key, value in run.metrics.items():
            st.metric(parts.plain(key), f"{value:.4g}", border=True, width=160)


def _pairs(content: object) -> None:
    pairs = dict(content)  # type: ignore[call-overload]
    shown = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in pairs.values()]
    st.dataframe({"name": list(pairs), "value": shown}, hide_index=True)


def _artifacts(run: studiolo.RunRecord) -> None:
    found = studiolo.artifacts(parts.workspace(), run.run_id)
    if not found:
        return
    st.subheader("Artifacts")
    for each in found:
        address = f"/files/{run.run_id}/{each.name}"
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"{parts.plain(each.name)} · {parts.size(each.size)}", width="content")
            if each.name.endswith(".html"):
                st.link_button("Open", address, icon=":material/open_in_new:", type="tertiary")
            st.link_button("Download", f"{address}?download=1", icon=":material/download:", type="tertiary")
    for report in (each for each in found if each.name.endswith("report.html")):
        with st.expander("The report", expanded=True, icon=":material/lab_profile:"):
            st.iframe(f"/files/{run.run_id}/{report.name}", height=720)


def _lines(run: studiolo.RunRecord) -> None:
    if run.kind != "flow":
        return
    st.subheader("Lines")
    page = studiolo.flow_lines(run)
    if failed := parts.failures(run):
        st.warning(f"{failed:,} of the lines failed; the rest are kept.", icon=":material/error:")
        page = sorted(page, key=lambda line: line.error is None)
    st.dataframe(
        [
            {
                "line": line.number,
                "status": line.status,
                **({"error": line.error or ""} if failed else {}),
                "inputs": json.dumps(line.inputs, ensure_ascii=False),
                "outputs": json.dumps(line.outputs, ensure_ascii=False) if line.outputs else "",
            }
            for line in page
        ],
        hide_index=True,
        alt="The lines of the flow run",
    )
    ended = int(run.metrics.get("lines.completed", 0)) + parts.failures(run)
    if ended > len(page):
        st.caption(f"The first {len(page):,} of {ended:,} lines are shown.")
