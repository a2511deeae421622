"""`studiolo flow test --interactive`: talk to a chat flow, turn by turn."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import typer

import flows
from studiolo.flow_tests import Prepared, once
from workspace.errors import Invalid


def converse(ready: Prepared, given: Mapping[str, Any], *, verbose: bool, trace: str | None = None) -> None:
    """Read what the person says until they leave; each turn is a run of the flow with the turns before it."""
    flow = ready.flow
    question, history, answer = flow.chat_input, flow.chat_history, flow.chat_output
    if question is None or answer is None:
        raise Invalid(
            f"{flow.name!r} is no chat flow", hint="mark an input with is_chat_input and an output with is_chat_output"
        )
    turns = list(given.get(history) or []) if history else []
    typer.secho(f"Talk to {flow.name}; an empty line or Ctrl-D leaves.", err=True, dim=True)
    while (said := _read()) is not None:
        inputs = {**given, question: said} | ({history: turns} if history else {})
        result = once(ready, inputs, trace=trace)
        if result.error:
            typer.secho(result.error, fg="red", err=True)
            continue
        typer.echo(result.outputs.get(answer))
        if verbose:
            for node in result.nodes:
                typer.secho(f"  {node.name}: {node.status}, {sum(node.tokens)} tokens", err=True, dim=True)
        turns = [*turns, *_turn(flow, question, said, result)]


def _turn(flow: flows.Flow, question: str, said: str, result: flows.FlowResult) -> list[dict[str, Any]]:
    """A turn as the flow's history holds it: inputs and outputs for a graph, roles for other flows."""
    if flow.kind == "dag":
        return [{"inputs": {question: said}, "outputs": dict(result.outputs)}]
    answer = result.outputs.get(flow.chat_output or "output")
    return [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]


def _read() -> str | None:
    if sys.stdin.isatty():
        print("> ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    return line.strip() or None
