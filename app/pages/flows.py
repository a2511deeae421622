"""Flows: what there is, how its nodes hang together, and what each of them does with an input."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

import streamlit as st

import flows
import studiolo
from app import graph, parts, places
from flows.flow import MISSING, Input
from flows.references import Reference

_TONES = {"llm": "violet", "prompt": "orange", "python": "blue"}
_NODE_TONES = {"Completed": "green", "Failed": "red", "Bypassed": "gray"}
_LANGUAGES = {".py": "python", ".jinja2": "jinja2", ".md": "markdown", ".prompty": "markdown"}


@parts.guarded
def show() -> None:
    """Show the list, or the flow that the address names."""
    workspace = parts.workspace()
    if ref := st.query_params.get("flow"):
        places.link("flows", "All flows", icon="arrow_back")
        _flow(workspace, studiolo.flow_folder(workspace, ref))
        return
    st.title("Flows")
    for folder in studiolo.flow_folders(workspace):
        with st.container(border=True):
            places.link("flows", f"**{parts.plain(folder.ref)}**", icon="account_tree", flow=folder.ref)
            with parts.errors_shown():
                flow = flows.load(folder.path)
                st.caption(
                    f"{_ORIGINS[folder.origin]} · {len(flow.nodes)} nodes · "
                    f"{parts.plain(flow.description or ' → '.join(node.name for node in flow.nodes))}"
                )
    parts.command("studiolo flow list")


_ORIGINS = {"project": "In the project", "asset": "Registered", "demo": "Comes with Studiolo"}


def _flow(workspace: studiolo.Workspace, folder: studiolo.FlowFolder) -> None:
    st.title(parts.plain(folder.ref))
    variants = [f"{node.name}.{name}" for node in flows.load(folder.path).nodes for name in node.variants]
    variant = None
    if variants:
        variant = st.pills("Variant", variants, key="variant", bind="query-params", help="Without one: the defaults")
    flow = flows.load(folder.path, variant=variant)
    trial = None
    if identifier := st.query_params.get("trial"):
        with parts.errors_shown():
            trial = studiolo.load_trial(workspace, identifier)
    _graph(flow, trial)
    left, right = st.columns([2, 3], gap="large")
    with left:
        st.subheader("Run once")
        _form(workspace, folder, flow, trial, variant)
    with right:
        if name := st.query_params.get("node"):
            _source(flow, name)
        if trial:
            _result(trial)
        elif not name:
            st.subheader("What each node did")
            st.markdown("Run the flow once to see each node's input, output, time and tokens.")


def _graph(flow: flows.Flow, trial: studiolo.Trial | None) -> None:
    took = {node.name: parts.duration(node.ended_at - node.started_at) for node in trial.result.nodes} if trial else {}
    names = {node.name for node in flow.nodes}
    boxes = [
        graph.Box(id=f"inputs.{name}", title=name, kind=f"input · {each.type}") for name, each in flow.inputs.items()
    ]
    arrows = []
    for node in flow.nodes:
        kind = f"{node.type} · {node.variant}" if node.variant else node.type
        tone, note = _TONES.get(node.type, "gray"), took.get(node.name, "aggregates" if node.aggregation else "")
        boxes.append(graph.Box(id=node.name, title=node.name, kind=kind, tone=tone, note=note))
        arrows += [(_origin(reference), node.name) for reference in node.references()]
    for name, output in flow.outputs.items():
        boxes.append(graph.Box(id=f"outputs.{name}", title=name, kind=f"output · {output.type}", tone="green"))
        if isinstance(output.value, Reference):
            arrows.append((_origin(output.value), f"outputs.{name}"))
    chosen = st.query_params.get("node", "")
    clicked = graph.draw(boxes, list(dict.fromkeys(arrows)), chosen=chosen, key="flow graph")
    if clicked in names and clicked != chosen:
        st.query_params["node"] = str(clicked)
        st.rerun()


def _origin(reference: Reference) -> str:
    return f"inputs.{reference.path[0]}" if reference.is_input else reference.source


def _form(
    workspace: studiolo.Workspace,
    folder: studiolo.FlowFolder,
    flow: flows.Flow,
    trial: studiolo.Trial | None,
    variant: str | None,
) -> None:
    given: dict[str, Any] = {}
    with st.form("inputs", border=False):
        for name, each in flow.inputs.items():
            first = trial.inputs.get(name, "") if trial else _default(each)
            key = f"{folder.ref} {trial and trial.id} {name}"
            given[name] = st.text_area(f"{name} ({each.type})", _text(first), height=68, key=key)
        pressed = st.form_submit_button("Run once", type="primary", icon=":material/play_arrow:")
    if pressed:
        with parts.errors_shown():
            with st.spinner("Running; a model that is asked for the first time is loaded first …"):
                done = studiolo.try_flow(workspace, folder.ref, given, variant=variant)
            st.query_params["trial"] = done.id
            st.rerun()
    parts.command(_command(folder, given, variant))


def _default(declared: Input) -> Any:
    return "" if declared.default is MISSING else declared.default


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _command(folder: studiolo.FlowFolder, given: Mapping[str, Any], variant: str | None) -> str:
    line = f"studiolo flow test --flow {shlex.quote(str(folder.path))}"
    line += "".join(f" --inputs {shlex.quote(f'{name}={value}')}" for name, value in given.items())
    return line + (f" --variant {shlex.quote(variant)}" if variant else "")


def _source(flow: flows.Flow, name: str) -> None:
    node = flow.node(name)
    if node is None or node.path is None or not node.path.is_file():
        return
    st.subheader(f"{parts.plain(name)}: its {'code' if node.type == 'python' else 'prompt'}")
    st.code(node.path.read_text(errors="replace"), language=_LANGUAGES.get(node.path.suffix), line_numbers=True)


def _result(trial: studiolo.Trial) -> None:
    result = trial.result
    st.subheader("What each node did")
    tone = _NODE_TONES.get(result.status, "gray")
    st.markdown(f":{tone}[{result.status}] in {parts.duration(trial.seconds)}, {parts.ago(trial.tried_at)}")
    if result.error:
        st.code(result.error, language=None, wrap_lines=True)
    for name, value in result.outputs.items():
        st.markdown(f"**{parts.plain(name)}**")
        st.code(_text(value), language=None, wrap_lines=True)
    for node in result.nodes:
        _node(node)
    if result.metrics:
        st.json(dict(result.metrics))


def _node(node: flows.NodeRecord) -> None:
    tokens = f" · {node.tokens[0]} → {node.tokens[1]} tokens" if any(node.tokens) else ""
    took = parts.duration(node.ended_at - node.started_at)
    sign = f":{_NODE_TONES.get(node.status, 'gray')}[{node.status}]"
    with st.expander(f"**{parts.plain(node.name)}** · {node.type} · {sign} · {took}{tokens}"):
        if node.model:
            st.caption(parts.plain(node.model))
        st.caption("Input")
        st.code(json.dumps(node.inputs, ensure_ascii=False, indent=2), language="json", wrap_lines=True)
        st.caption("Output")
        st.code(_text(node.output), language=None, wrap_lines=True)
        if node.error:
            st.caption("Error")
            st.code(node.error, language=None, wrap_lines=True)
