from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from evals import report_card
from evals.adapters.harness import Endpoint, record
from evals.report_card import Measured
from evals.samples import Sample
from workspace import Asset, Workspace
from workspace.errors import Denied, Invalid

Sampled = Callable[[str], tuple[Sample, ...]]
Ran = Callable[[str, str, Asset], str]


@pytest.fixture
def models(workspace: Workspace) -> tuple[Asset, Asset]:
    """A base and the model tuned from it."""
    base = workspace.assets.put("model", "base", b"old weights", properties={"filename": "w"})
    return base, workspace.assets.put("model", "tuned", b"newer weights", properties={"filename": "w"})


@pytest.fixture
def ran(workspace: Workspace, sampled: Sampled) -> Ran:
    """Keep a run that a model has answered: `ran("sums", "++-", model)` returns its name."""

    def keep(task: str, marks: str, model: Asset) -> str:
        samples = [replace(sample, model=model.ref, seconds=float(model.size)) for sample in sampled(marks)]
        endpoint = Endpoint(base_url="http://127.0.0.1:1/v1", model=model.name)
        return record(
            workspace, samples, name=f"{task}-{model.name}", harness="test", task=task, endpoint=endpoint
        ).name

    return keep


def measured(ran: Ran, models: tuple[Asset, Asset], area: report_card.Area, before: str, after: str) -> Measured:
    base, tuned = models
    return Measured(area=area, base=ran(f"of-{area}", before, base), tuned=ran(f"of-{area}", after, tuned))


def test_a_card_tells_what_was_won_and_lost_and_what_it_costs(
    workspace: Workspace, models: tuple[Asset, Asset], ran: Ran
) -> None:
    parts = [
        measured(ran, models, "task", "-" * 20 + "+" * 20, "+" * 40),
        measured(ran, models, "general", "+-" * 300, "+-" * 300),
        measured(ran, models, "safety", "+" * 60, "-" * 20 + "+" * 40),
    ]
    card = report_card.card(workspace, *models, parts)
    assert [(part.area, part.passed) for part in card.parts] == [("task", True), ("general", True), ("safety", False)]
    assert not card.passed
    assert card.seconds == (11.0, 13.0)
    assert card.sizes == (11, 13)
    assert card.as_json()["parts"][0]["change"] == 0.5


def test_a_model_is_champion_with_a_card_that_it_has_passed(
    workspace: Workspace, models: tuple[Asset, Asset], ran: Ran
) -> None:
    _, tuned = models
    with pytest.raises(Denied, match="has no report card"):
        report_card.promote(workspace, tuned, "champion")
    card = report_card.card(workspace, *models, [measured(ran, models, "task", "-" * 20 + "+" * 20, "+" * 40)])
    kept = report_card.keep(workspace, card)
    assert report_card.find(workspace, tuned) == kept
    assert report_card.promote(workspace, tuned, "champion").labels == ("champion",)


def test_a_card_that_was_not_passed_is_none_but_a_reason_is_audited(
    workspace: Workspace, models: tuple[Asset, Asset], ran: Ran
) -> None:
    _, tuned = models
    report_card.keep(workspace, report_card.card(workspace, *models, [measured(ran, models, "task", "+-+", "+-+")]))
    with pytest.raises(Denied, match="has not passed its report card"):
        report_card.promote(workspace, tuned, "champion")
    with pytest.raises(Denied):
        report_card.promote(workspace, tuned, "champion", reason=" ")
    report_card.promote(workspace, tuned, "champion", reason="a demonstration")
    override = next(row for row in workspace.audit.list() if row.action == "champion.override")
    assert override.after is not None
    assert override.after["reason"] == "a demonstration"


def test_other_labels_need_no_card(workspace: Workspace, models: tuple[Asset, Asset]) -> None:
    assert report_card.promote(workspace, models[1], "challenger").labels == ("challenger",)


def test_runs_of_another_model_make_no_card(workspace: Workspace, models: tuple[Asset, Asset], ran: Ran) -> None:
    base, tuned = models
    wrong = Measured(area="task", base=ran("a", "+-+", base), tuned=ran("b", "+-+", base))
    with pytest.raises(Invalid, match="was answered by model:base:1, not by"):
        report_card.card(workspace, *models, [wrong])
    with pytest.raises(Invalid, match="needs the task"):
        report_card.card(workspace, base, tuned, [replace(wrong, area="general")])
