"""Which events a rule chooses, and which rules there cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.events import rules
from jobs.events.rules import Rule
from tests.jobs.receiving import Receiver, said, to
from tests.jobs.receiving import receiver as receiver
from workspace.errors import Conflict, Invalid, NotFound
from workspace.home import Workspace


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["a", "b"]), ({"subject": "models/a:*"}, ["a"]), ({"types": ("ModelRegistered",)}, ["a", "b"]),
        ({"types": ("DataRegistered",)}, []), ({"tags": {"team": "red"}}, ["b"]), ({"tags": {"team": "blue"}}, []),
    ],
)  # fmt: skip
def test_rules_choose(workspace: Workspace, receiver: Receiver, filters: dict[str, Any], expected: list[str]) -> None:
    rules.create(workspace, to(receiver, **filters))
    workspace.assets.put("model", "a", b"1")
    made = workspace.assets.put("model", "b", b"2")
    workspace.assets.note(made, {"tags": {"team": "red"}})
    assert [each["data"]["ModelName"] for each in said(workspace, receiver)] == expected


def test_a_webhook_inside_must_be_allowed(workspace: Workspace, receiver: Receiver) -> None:
    with pytest.raises(Invalid, match="inside this machine") as refused:
        rules.create(workspace, Rule(name="rule", webhook=receiver.url))
    assert "--inside" in (refused.value.hint or "")


def test_rules_that_cannot_be_are_refused(workspace: Workspace, receiver: Receiver) -> None:
    with pytest.raises(Invalid, match="a webhook or a command"):
        Rule(name="rule")
    with pytest.raises(Invalid, match="no event 'RunComplete'") as refused:
        rules.create(workspace, to(receiver, types=("RunComplete",)))
    assert refused.value.hint == "did you mean 'RunCompleted'?"
    with pytest.raises(NotFound, match="no program"):
        rules.create(workspace, Rule(name="rule", command=("no-such-program",)))
    with pytest.raises(Invalid, match="ftp"):
        rules.create(workspace, Rule(name="rule", webhook="ftp://example.com/"))
    rules.create(workspace, to(receiver))
    with pytest.raises(Conflict, match="already"):
        rules.create(workspace, to(receiver))
    rules.remove(workspace, "rule")
    with pytest.raises(NotFound, match="no event rule 'rule'"):
        rules.remove(workspace, "rule")
