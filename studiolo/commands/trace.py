"""`studiolo trace`: what happened inside a flow that was tried, served or run over rows."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

import studiolo
from studiolo.commands.show import moment, print_json, print_table
from workspace.errors import NotFound, StudioloError

if TYPE_CHECKING:
    from flows.results import LineRecord
    from workspace import Workspace

app = typer.Typer(help="See what happened inside flows: nodes, model calls, tokens, cost.")
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_WIDTH = 88


@app.command("list")
def list_command(
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    flow: Annotated[str | None, typer.Option(help="Only of this flow.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what was tried with `flow test` and served by `flow serve`, newest first."""
    from flows.serve import log as serve_log
    from studiolo.plain import plain

    with studiolo.open_workspace() as workspace:
        kept = [each for each in serve_log.served(workspace.home) if flow in (None, each.flow)]
    found = list(islice(sorted(kept, key=lambda each: -each.ts), limit))
    if as_json:
        print_json([{**plain(each), "line": each.line and plain(each.line)} for each in found])
        return
    rows = []
    for each in found:
        status, _, error, tokens, cost, _ = each.line.summary() if each.line else ("", 0.0, None, (0, 0), None, ())
        rows.append((
            each.id, each.flow, each.path, status or each.status, moment(each.ts), _span(each.duration),
            sum(tokens) or None, _dollars(cost), error,
        ))  # fmt: skip
    print_table(("trace", "flow", "of", "status", "when", "took", "tokens", "cost", "error"), rows, right=("tokens",))
    if not found:
        typer.echo("next: studiolo flow test --flow FOLDER", err=True)


@app.command("show")
def show_command(
    trace: Annotated[str, typer.Argument(help="A trace's id or its first letters, or a run's name.")],
    line: Annotated[int, typer.Option(min=0, help="Of a run: this line.")] = 0,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show inputs and outputs as well.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw one trace as a tree: what ran inside what, how long, with which model, for how many tokens."""
    from studiolo.plain import plain

    with studiolo.open_workspace() as workspace:
        title, record = _find(workspace, trace, line)
    if as_json:
        print_json(plain(record))
        return
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    status, seconds, error, tokens, cost, _ = record.summary()
    tree = Tree(Text(f"{title}  {status}  {_told(seconds, tokens, cost, None)}{_failed(error)}"))
    for node in record.nodes:
        branch = tree.add(Text(_line(node, node.name, node.status)))
        _add(branch, node, verbose=verbose)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 1000
    console.print(tree)


def _find(workspace: Workspace, name: str, number: int) -> tuple[str, LineRecord]:
    import flows
    from flows.serve import log as serve_log

    found = [each for each in serve_log.served(workspace.home) if each.id.startswith(name) and each.line]
    if found and found[-1].line:
        return f"{found[-1].flow} ({found[-1].path})", found[-1].line
    try:
        record = workspace.runs.get(name)
    except StudioloError as error:
        raise NotFound(f"no trace and no run {name!r}", hint=error.hint or "studiolo trace list") from None
    if record.kind == "eval":
        from evals import traces

        told = traces.lines(record)
    else:
        told = flows.lines(record)
    for line in told:
        if line.number == number:
            return f"{record.name}, line {number}", line
    raise NotFound(f"run {record.name!r} has no line {number}", hint=f"studiolo flow show {record.name}")


def _add(branch: Any, record: Any, *, verbose: bool) -> None:
    from rich.text import Text

    if verbose:
        branch.add(Text(f"← {_short(record.inputs)}", style="dim"))
    for span in record.spans:
        _add(branch.add(Text(_line(span, span.name, span.kind))), span, verbose=verbose)
    if verbose and record.output is not None:
        branch.add(Text(f"→ {_short(record.output)}", style="dim"))


def _line(record: Any, name: str, kind: str) -> str:
    took = max(record.ended_at - record.started_at, 0.0)
    return f"{name}  {kind}  {_told(took, record.tokens, record.cost, record.model)}{_failed(record.error)}"


def _told(seconds: float, tokens: tuple[int, int], cost: float | None, model: str | None) -> str:
    said = [_span(seconds)]
    if any(tokens):
        said.append(f"{tokens[0]} → {tokens[1]} tokens")
    said += [each for each in (_dollars(cost), model) if each]
    return " · ".join(said)


def _failed(error: str | None) -> str:
    return f"  ✗ {' '.join(error.split())[:200]}" if error else ""


def _span(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _dollars(cost: float | None) -> str:
    return "" if cost is None else f"${cost:.6f}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    text = " ".join(text.split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
