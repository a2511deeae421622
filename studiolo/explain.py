"""Where one answer came from: its request, the deployment that gave it, the weights, the flow and what made them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import or_, select

from flows.serve.log import Served, served
from serving import endpoints
from serving.rollouts import records
from serving.rollouts.records import Rollout
from workspace.assets import Asset
from workspace.errors import NotFound
from workspace.home import Workspace
from workspace.lineage import Edge
from workspace.tables import events


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All that is kept of one answer. `row` is the request's, never its text; `line` what a flow did for it.

    `assets` are the model or flow that answered and what its nodes asked; `rollout` is one that was going on.
    """

    at: float
    row: Mapping[str, Any]
    assets: tuple[Asset, ...]
    upstream: tuple[Edge, ...]
    line: Served | None = None
    rollout: Rollout | None = None


def explain(workspace: Workspace, identifier: str) -> Explanation:
    """Return what is known of an answer by its own id ("chatcmpl-…", "resp_…"), or by the id of its request."""
    workspace.spool.ingest()
    at, row = _row(workspace, identifier)
    line = next((each for each in served(workspace.home) if each.id == row["request_id"]), None)
    assets = _assets(workspace, row, line)
    edges = {edge for asset in assets for edge in workspace.lineage.upstream(asset.ref)}
    ordered = tuple(sorted(edges, key=lambda edge: (edge.created_at, edge.source)))
    return Explanation(at=at, row=row, assets=assets, upstream=ordered, line=line, rollout=_rollout(workspace, row, at))


def tree(workspace: Workspace, found: Explanation) -> str:
    """Return an explanation as a tree to print."""
    return "\n".join([_answer(found), *_drawn(_branches(workspace, found))])


Branch = tuple[str, list[str]]  # what it says, and the lines under it


def _branches(workspace: Workspace, found: Explanation) -> list[Branch]:
    row = found.row
    asked = [f"over {row['path']}"]
    if row.get("cohort"):
        asked.append(f"cohort {row['cohort']}")
    if row.get("failures"):
        asked.append(f"after {len(row['failures'])} failed attempts: {', '.join(row['failures'])}")
    branches: list[Branch] = [(f"asked with key {_key(workspace, row)}, {_moment(found.at)} UTC", asked)]
    if row.get("deployment"):
        branches.append((f"deployment {row['deployment']}, engine {row['engine']}", _deployment(workspace, found)))
    if found.line and found.line.line:
        branches.append((f"flow {found.line.flow}, version {found.line.digest[:19]}", list(_nodes(found.line))))
    for asset in found.assets:
        told = [name for name in ("source", "revision", "license") if name in asset.properties]
        under = [f"content {asset.digest}", *(f"{name} {_plainly(asset.properties[name])}" for name in told)]
        made = workspace.lineage.tree(asset.ref).splitlines()[1:]
        branches.append((f"{asset.kind} {asset.name}:{asset.version}", under + made))
    return branches


def _answer(found: Explanation) -> str:
    row = found.row
    tokens = "" if row.get("prompt_tokens") is None else f", {row['prompt_tokens']} → {row['completion_tokens']} tokens"
    cost = f", {row['cost']:.6f}" if row.get("cost") else ""
    name = row.get("response_id") or row["request_id"]
    return f"answer {name}: {row['status']} in {row['duration_ms'] / 1e3:.2f} s{tokens}{cost}"


def _drawn(branches: list[Branch]) -> Iterator[str]:
    for index, (text, under) in enumerate(branches):
        last = index == len(branches) - 1
        yield ("└─ " if last else "├─ ") + text
        before = "   " if last else "│  "
        plain = [each for each in under if not each.startswith(("├", "└", "│", " "))]
        for place, each in enumerate(under):
            drawn = each not in plain
            end = place == len(under) - 1
            yield before + (each if drawn else ("└─ " if end else "├─ ") + each)


def _deployment(workspace: Workspace, found: Explanation) -> list[str]:
    said = []
    if rollout := found.rollout:
        part = "the candidate" if rollout.plan.path == found.row["deployment"] else "the baseline"
        said.append(f"{part} of rollout {rollout.id}, which is {rollout.state}")
    if endpoint := endpoints.find(workspace, str(found.row["endpoint"])):
        said.append("traffic now " + " ".join(f"{name}={part:g}" for name, part in endpoint.traffic.items()))
    return said


def _nodes(line: Served) -> Iterator[str]:
    for node in line.line.nodes if line.line else ():
        tokens = f", {node.tokens[0]} → {node.tokens[1]} tokens" if any(node.tokens) else ""
        yield f"{node.name} ({node.type}) {node.status}{', ' + node.model if node.model else ''}{tokens}"


def _row(workspace: Workspace, identifier: str) -> tuple[float, dict[str, Any]]:
    payload = events.c.payload
    mine = or_(events.c.event_id == identifier, payload["response_id"].as_string() == identifier)
    query = select(events.c.ts, payload).where(events.c.kind == "request", mine)
    with workspace.database.read() as connection:
        found = connection.execute(query.order_by(events.c.ts.desc()).limit(1)).first()
    if found is None:
        hint = "the id of an answer (chatcmpl-…, resp_…, msg_…) or of a request (header x-request-id)"
        raise NotFound(f"no answer {identifier!r}", hint=hint)
    return found[0], dict(found[1])


def _assets(workspace: Workspace, row: Mapping[str, Any], line: Served | None) -> tuple[Asset, ...]:
    refs = [str(row.get("model") or "")]
    if line and line.line:
        refs += [node.model for node in line.line.nodes if node.model]
    found = {}
    for ref in refs:
        kind, _, rest = ref.partition(":")
        try:
            asset = workspace.assets.get(kind, rest) if rest else None
        except NotFound:
            continue  # a name at a server elsewhere
        if asset:
            found[asset.ref] = asset
    return tuple(found.values())


def _rollout(workspace: Workspace, row: Mapping[str, Any], at: float) -> Rollout | None:
    """Return the rollout that was going on when the request came."""
    for rollout in records.listed(workspace, endpoint=str(row.get("endpoint") or "")):
        if rollout.created_at <= at <= (rollout.ended_at or at):
            return rollout
    return None


def _key(workspace: Workspace, row: Mapping[str, Any]) -> str:
    names = {record.id: record.name for record in workspace.tokens.list()}
    return f"{names.get(row['token'], 'unknown')!r} ({row['token']})"


def _plainly(value: Any) -> str:
    return ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, Mapping) else str(value)


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
