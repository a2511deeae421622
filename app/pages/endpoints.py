"""Endpoints: who answers under which name, how the traffic is split, and how a rollout is doing."""

from __future__ import annotations

import html
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import streamlit as st

import studiolo
from app import parts, places

_COLOURS = ("#1F6B4A", "#C98A2B", "#5B6FB5", "#A2485B", "#6B8E9F", "#8A7A5C")
_STATES = {"RUNNING": ":blue[● Running]", "PAUSED": ":violet[‖ Paused]", "COMPLETED": ":green[✓ Completed]",
           "ABORTED": ":red[✕ Aborted]"}  # fmt: skip
_FILE = """name: blue
endpoint_name: chat
model: azureml:smollm2-135m-instruct@latest
"""


@parts.guarded
def show() -> None:
    """Show all endpoints, or the one that the address names."""
    if chosen := st.query_params.get("endpoint"):
        with st.container():
            places.link("endpoints", "All endpoints", icon="arrow_back")
        endpoint = studiolo.made_endpoint(parts.workspace(), chosen)
        if endpoint.kind == "batch":
            places.go("batch", endpoint=endpoint.name)
        _detail(endpoint)
        return
    st.title("Endpoints")
    found = studiolo.made_endpoints(parts.workspace())
    if not found:
        parts.empty(
            "No endpoint yet",
            "Every model answers under its own name already. An endpoint gives clients a name that stays while what "
            "answers changes. Write this into `blue.yml`, and:",
        )
        st.code(_FILE, language="yaml")
        st.code(
            "studiolo endpoint create -n chat\nstudiolo deployment create -f blue.yml --all-traffic", language="bash"
        )
        return
    lately = studiolo.activity(parts.workspace())
    for endpoint in found:
        _card(endpoint, lately)
    parts.command("studiolo endpoint list")


def _card(endpoint: studiolo.Endpoint, lately: Mapping[str, studiolo.Activity]) -> None:
    with st.container(border=True):
        mine = [lately[way.path] for way in endpoint.deployments.values() if way.path in lately]
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            places.link("endpoints", parts.plain(endpoint.name), icon="dns", endpoint=endpoint.name)
            requests, failed = sum(each.requests for each in mine), sum(each.failed for each in mine)
            said = f"{parts.many(requests, 'request')} in the last hour" + (
                f", :red[{failed:,} failed]" if failed else ""
            )
            st.markdown(f":small[{said if requests else 'no request in the last hour'}]", width="content")
        _bar(endpoint)


def _detail(endpoint: studiolo.Endpoint) -> None:
    st.title(parts.plain(endpoint.name))
    if text := endpoint.properties.get("description"):
        st.markdown(parts.plain(str(text)))
    with st.container(horizontal=True):
        places.link("playground", "Ask it", icon="forum", model=endpoint.name)
    _bar(endpoint)
    lately = studiolo.activity(parts.workspace())
    st.subheader("Deployments")
    _deployments(endpoint, lately)
    _requests(endpoint)
    found = studiolo.rollouts_of(parts.workspace(), endpoint.name)
    if found:
        st.subheader("Rollout")
        _rollout(endpoint.name)
        _earlier(found[1:])
    parts.acts(endpoint.name)
    parts.command(f"studiolo endpoint show -n {endpoint.name}\nstudiolo rollout show {endpoint.name}")


def _bar(endpoint: studiolo.Endpoint) -> None:
    """Draw the traffic: a bar whose parts are the deployments, with a legend that says the same in words."""
    shares = {name: part for name, part in endpoint.traffic.items() if part and name in endpoint.deployments}
    if not shares:
        st.markdown(":orange[No deployment gets traffic.]")
        return
    colours = _colours(endpoint)
    pieces = "".join(
        f'<div style="flex:{part};background:{colours[name]};min-width:3px"></div>' for name, part in shares.items()
    )
    legend = " ".join(
        f'<span style="margin-right:1.2rem"><span style="color:{colours[name]}">■</span> '
        f"{html.escape(name)} {part:g} %</span>"
        for name, part in shares.items()
    )
    copied = "".join(
        f"<span>⧉ {html.escape(name)} gets copies of {part:g} %</span>"
        for name, part in endpoint.mirror.items()
        if part
    )
    st.html(
        f'<div role="img" aria-label="traffic" style="display:flex;gap:2px;height:14px;border-radius:7px;'
        f'overflow:hidden">{pieces}</div><div style="font-size:0.875rem;margin-top:0.4rem">{legend}{copied}</div>'
    )


def _deployments(endpoint: studiolo.Endpoint, lately: Mapping[str, studiolo.Activity]) -> None:
    rows = []
    for name, way in endpoint.deployments.items():
        did = lately.get(way.path)
        rows.append(
            {
                "Deployment": name,
                "Traffic": f"{endpoint.traffic.get(name, 0):g} %",
                "Requests": did.requests if did else 0,
                "Failed": f"{did.failing:.1%}" if did else "",
                "First byte": parts.duration((did.first_byte or 0) / 1e3) if did and did.first_byte else "",
                "95 %": parts.duration((did.first_byte_95 or 0) / 1e3) if did and did.first_byte_95 else "",
                "Tokens": did.prompt_tokens + did.completion_tokens if did else 0,
                "Engine": way.engine,
                "Model": way.model,
            }
        )
    st.dataframe(rows, hide_index=True, alt="The deployments, their models and what they did in the last hour")
    st.caption("Requests and times are of the last hour.")


def _requests(endpoint: studiolo.Endpoint) -> None:
    minutes = [
        {"minute": minute, "deployment": way, "requests": count}
        for minute, way, count in studiolo.by_minute(parts.workspace(), endpoint.name)
        if way in endpoint.deployments
    ]
    if not minutes:
        return
    colours, now = _colours(endpoint), datetime.now(UTC)
    # The axis spans the hour, whenever somebody asked.
    ends = [{"minute": at, "deployment": next(iter(colours)), "requests": 0} for at in (now - timedelta(hours=1), now)]
    st.vega_lite_chart(
        [*minutes, *ends],
        {
            "mark": "bar",
            "height": 220,
            "encoding": {
                "x": {
                    "field": "minute", "type": "temporal", "timeUnit": "yearmonthdatehoursminutes", "title": None,
                    "axis": {"format": "%H:%M", "tickCount": 6},
                },
                "y": {"field": "requests", "type": "quantitative", "title": "requests a minute"},
                "color": {
                    "field": "deployment", "type": "nominal", "title": None, "legend": {"orient": "bottom"},
                    "scale": {"domain": list(colours), "range": list(colours.values())},
                },
            },
        },
    )  # fmt: skip


def _colours(endpoint: studiolo.Endpoint) -> dict[str, str]:
    return {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(sorted(endpoint.deployments))}


@st.fragment(run_every=5)  # type: ignore[untyped-decorator]
def _rollout(endpoint: str) -> None:
    """Show the newest rollout, and again every few seconds."""
    rollout = studiolo.rollouts_of(parts.workspace(), endpoint)[0]
    plan = rollout.plan
    st.markdown(
        f"{_STATES[rollout.state]} · **{parts.plain(plan.deployment)}** at {rollout.percent:g} % · begun "
        f"{parts.ago(rollout.created_at)} · `{rollout.id}`"
    )
    if rollout.reason:
        (st.error if rollout.state == "ABORTED" else st.info)(parts.plain(rollout.reason))
    st.progress(_done(rollout), text="  →  ".join(_step(rollout, index) for index in range(len(plan.steps))))
    told = rollout.evidence.get("told", {})
    for name, guard in told.items():
        _guard(name, guard)
    if told:
        st.caption(
            "A full bar ends the rollout: then what was seen would come up in a sound candidate in fewer than "
            f"{plan.alpha:.0%} of all rollouts, however often one looks."
        )
    if rollout.state in ("RUNNING", "PAUSED"):
        _buttons(rollout)


def _step(rollout: studiolo.Rollout, index: int) -> str:
    text = f"{rollout.plan.steps[index]:g} %"
    return f"**{text}**" if index == rollout.step else text


def _done(rollout: studiolo.Rollout) -> float:
    last = len(rollout.plan.steps) - 1
    if rollout.state == "COMPLETED" or not last:
        return 1.0
    requests = float(rollout.evidence.get("since", {}).get("requests", 0))
    return min(1.0, (rollout.step + min(1.0, requests / max(1, rollout.plan.requests))) / last)


def _guard(name: str, guard: Mapping[str, Any]) -> None:
    ours, theirs = guard["candidate"], guard["baseline"]
    seen = ("nothing yet" if side["mean"] is None else f"{side['mean']:.1%}" for side in (ours, theirs))
    counts = f"{ours['count']:,} and {theirs['count']:,} requests"
    head = f"**{parts.plain(name.replace('_', ' '))}** · {parts.plain(guard['what'])}"
    st.progress(float(guard["progress"]), text=f"{head}: {' against '.join(seen)} · :small[{counts}]")


def _buttons(rollout: studiolo.Rollout) -> None:
    workspace = parts.workspace()
    with st.container(horizontal=True), parts.errors_shown():
        if rollout.state == "RUNNING" and parts.change("Pause", icon=":material/pause:"):
            studiolo.pause_rollout(workspace, rollout.id)
            st.rerun()
        if rollout.state == "PAUSED" and parts.change("Go on", icon=":material/play_arrow:"):
            studiolo.resume_rollout(workspace, rollout.id)
            st.rerun()
        if parts.change("Abort", icon=":material/undo:", tip="Give the traffic back to what had it before"):
            studiolo.abort_rollout(workspace, rollout.id)
            st.rerun()


def _earlier(found: list[studiolo.Rollout]) -> None:
    if found:
        with st.expander(f"{len(found)} earlier", icon=":material/history:"):
            for each in found:
                why = f": {parts.plain(each.reason)}" if each.reason else ""
                st.markdown(
                    f"{_STATES[each.state]} {parts.plain(each.plan.deployment)}, {parts.ago(each.ended_at)}{why}"
                )
