"""Lineage is followed to its depth, on both databases, and drawn so that a person can read it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from workspace.errors import Invalid
from workspace.home import Workspace
from workspace.nodes import add_edges
from workspace.tables import edges

RUN = "0" * 32
Pairs = Iterable[tuple[int, int]]


def _node(number: int) -> str:
    return f"data:n{number}:1"


def _write(workspace: Workspace, pairs: Pairs) -> None:
    with workspace.database.write(durable=False) as connection:
        connection.execute(delete(edges))
    with workspace.light.write(durable=False) as statements:
        add_edges(statements, RUN, [(_node(source), _node(target)) for source, target in pairs])


def _reached(pairs: Pairs, start: int, depth: int, *, up: bool) -> set[tuple[str, str]]:
    """The definition, slowly: every edge on a path of at most `depth` steps."""
    pairs = set(pairs)
    found: set[tuple[int, int]] = set()
    front = {start}
    for _ in range(depth):
        new = {pair for pair in pairs if pair[1 if up else 0] in front}
        found |= new
        front = {pair[0 if up else 1] for pair in new}
    return {(_node(source), _node(target)) for source, target in found}


def test_a_result_leads_back_to_data_and_model(any_workspace: Workspace) -> None:
    data = any_workspace.assets.put("data", "questions", b"{}")
    with any_workspace.run("flow", inputs=[data, "model:smol:1"]) as flow:
        pass
    with any_workspace.run("eval", inputs=[flow]) as score:
        report = any_workspace.assets.put("report", "demo", b"<html>")
        score.output(report)
    sources = {edge.source for edge in any_workspace.lineage.upstream(report)}
    assert sources == {score.ref, flow.ref, data.ref, "model:smol:1"}
    targets = {edge.target for edge in any_workspace.lineage.downstream(data)}
    assert targets == {flow.ref, score.ref, report.ref}
    assert {edge.source for edge in any_workspace.lineage.upstream(report, depth=1)} == {score.ref}


def test_the_tree_names_kinds_versions_and_digests_and_draws_a_part_once(workspace: Workspace) -> None:
    data = workspace.assets.put("data", "questions", b"{}")
    for name in ("short", "long"):
        with workspace.run("flow", name=name, inputs=[data, "flow:qa:1"]):
            pass
    with workspace.run("eval", name="compare", inputs=[workspace.runs.get("short"), workspace.runs.get("long")]) as run:
        run.output("report:demo:1")
        run.input(workspace.runs.get("short").ref)
    with workspace.run("eval", name="again", inputs=[workspace.runs.get("short")]) as run:
        run.output("report:demo:1")
    digest = data.digest.removeprefix("sha256:")[:12]
    assert workspace.lineage.tree("report:demo:1").splitlines() == [
        "report:demo:1",
        "├─ eval run compare (FINISHED)",
        "│  ├─ flow run short (FINISHED)",
        f"│  │  ├─ data questions:1 ({digest})",
        "│  │  └─ flow:qa:1",
        "│  └─ flow run long (FINISHED)",
        f"│     ├─ data questions:1 ({digest})",
        "│     └─ flow:qa:1",
        "└─ eval run again (FINISHED)",
        "   └─ flow run short (FINISHED) …as above",
    ]


def test_a_cycle_ends_by_itself_and_is_drawn_once(any_workspace: Workspace) -> None:
    _write(any_workspace, [(1, 2), (2, 3), (3, 1)])
    assert len(any_workspace.lineage.upstream(_node(1), depth=50)) == 3
    lines = any_workspace.lineage.tree(_node(1)).splitlines()
    assert len(lines) == 4
    assert lines[-1].endswith("…as above")


def test_a_ladder_of_diamonds_is_walked_in_no_time(workspace: Workspace) -> None:
    steps = [(2 * n + a, 2 * n + 2 + b) for n in range(40) for a in (0, 1) for b in (0, 1)]
    _write(workspace, steps)  # 2**40 paths
    assert len(workspace.lineage.upstream(_node(80), depth=40)) == 40 * 4 - 2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=25),
    depth=st.integers(0, 6),
    up=st.booleans(),
)
def test_what_the_database_finds_is_what_the_definition_says(
    workspace: Workspace, pairs: set[tuple[int, int]], depth: int, up: bool
) -> None:
    _write(workspace, pairs)
    walk = workspace.lineage.upstream if up else workspace.lineage.downstream
    found = [(edge.source, edge.target) for edge in walk(_node(0), depth)]
    assert len(found) == len(set(found))
    assert set(found) == _reached(pairs, 0, depth, up=up)


def test_a_text_that_names_nothing_is_refused(workspace: Workspace) -> None:
    with pytest.raises(Invalid, match="names no asset or run"):
        workspace.lineage.upstream("questions")


def test_an_edge_told_twice_is_one_edge(any_workspace: Workspace) -> None:
    with any_workspace.run("flow", inputs=["data:a:1", "data:a:1"]) as run:
        run.input("data:a:1")
    assert len(any_workspace.lineage.upstream(run)) == 1
