"""`studiolo rai`: reports that say who is treated how, gates that refuse, and models that were mended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest

from evals.statistics.intervals import wilson
from finetune.responsible import balance, counterfactuals, errors, explaining, gate, groups, mitigation, page
from finetune.responsible.groups import Answers
from finetune.responsible.report import Question, Report, make
from finetune.tabular import asking, keeping, tables, training
from finetune.tabular.asking import Asked
from finetune.tabular.problems import Problem
from jobs import consent
from studiolo.responsible.worker import measured
from tests.studiolo.command_line import typed
from workspace.errors import Invalid
from workspace.home import Workspace

LOAN = Problem(task="classification", targets=("loan",))


def applicants(rows: int, *, seed: int) -> pandas.DataFrame:
    """Return people of whom men got loans more easily, and three who are of neither kind."""
    chance = numpy.random.default_rng(seed)
    table = pandas.DataFrame(
        {
            "sex": chance.choice(["female", "male"], rows),
            "age": chance.integers(20, 70, rows).astype(float),
            "income": chance.normal(40, 12, rows).round(1),
            "home": chance.choice(["rent", "own", "shared"], rows),
        }
    )
    able = table["income"] + 16 * (table["sex"] == "male") + 6 * (table["home"] == "own") + chance.normal(0, 5, rows)
    table["loan"] = numpy.where(able > 50, "yes", "no")
    table.loc[:2, "sex"] = "other"
    return table


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of a line and the tables that it was trained on and is measured on."""
    folder = tmp_path_factory.mktemp("rai")
    tables.write(applicants(700, seed=0), folder / "train.csv")
    tables.write(applicants(500, seed=1), folder / "test.csv")
    keeping.keep(training.train("sklearn", tables.read(folder / "train.csv"), LOAN, {}), folder / "model")
    return folder


@pytest.fixture(scope="module")
def report(made: Path) -> Report:
    question = Question(target="loan", sensitive=("sex", "age"), only={"income": "up"}, rows=3)
    asked = asking.load(made / "model")
    return make(asked, tables.read(made / "test.csv"), question, measured(), ("loans", "test"))


def by_hand(table: pandas.DataFrame, said: Any, sex: str) -> pandas.Series:
    return pandas.Series(said == "yes", table.index)[table["sex"] == sex]


def test_groups_are_measured_as_by_hand_with_wilsons_interval(made: Path, report: Report) -> None:
    table = tables.read(made / "test.csv")
    chosen = by_hand(table, asking.load(made / "model").predict(table), "female")
    sex = next(each for each in report.sensitive if each.column == "sex")
    female = next(each for each in sex.groups if each.name == "female").metrics["selection_rate"]
    interval = wilson(int(chosen.sum()), len(chosen))
    assert (female.value, female.low, female.high) == pytest.approx((chosen.mean(), interval.low, interval.high))
    found = sex.disparity("selection_rate")
    assert found is not None
    assert (found.least, found.most) == ("female", "male")
    assert 0.1 < found.low < found.difference < found.high
    assert found.ratio == pytest.approx(female.value / (female.value + found.difference))


def test_small_groups_are_shown_and_compared_with_nobody(report: Report) -> None:
    sex = next(each for each in report.sensitive if each.column == "sex")
    assert [(each.name, each.is_small) for each in sex.groups] == [("female", False), ("male", False), ("other", True)]
    assert "other" not in {name for each in sex.disparities for name in (each.least, each.most)}
    assert [each.column for each in report.sensitive] == ["sex", "age", "sex and age"]
    assert len(next(each for each in report.sensitive if each.column == "age").groups) == 4


def test_numbers_have_groups_too_with_the_bootstraps_interval() -> None:
    true = pandas.Series(numpy.arange(200.0))
    answers = Answers(task="regression", true=true, said=true + numpy.tile([1.0, 4.0], 100) + numpy.arange(200) % 3)
    sensitive = pandas.DataFrame({"town": ["a", "b"] * 100})
    found = groups.measure(answers, sensitive, measured())[0]
    apart = found.disparity("mean_error")
    assert apart is not None
    assert apart.most == "b"
    assert apart.difference == pytest.approx(3.0, abs=0.05)
    assert apart.low < 3 < apart.high


def test_balance_says_how_many_rows_would_have_to_be_of_another_class() -> None:
    target = pandas.Series(["yes"] * 80 + ["no"] * 20 + ["yes"] * 50 + ["no"] * 50)
    first, second = balance.measure(target, pandas.Series(["a"] * 100 + ["b"] * 100))
    assert (first.rows, first.classes) == (100, {"no": 20, "yes": 80})
    assert first.tv == pytest.approx(0.3, abs=0.01)
    assert first.kl == pytest.approx(0.8 * numpy.log2(1.6) + 0.2 * numpy.log2(0.4), abs=0.02)
    assert second.share == 0.5


def test_the_tree_of_errors_finds_where_they_are() -> None:
    rows = pandas.DataFrame({"town": ["a", "b"] * 200, "size": numpy.tile(numpy.arange(200.0), 2)})
    wrong = (rows["town"] == "a") & (rows["size"] > 120)
    true = pandas.Series(["x"] * 400)
    root = errors.tree(Answers(task="classification", true=true, said=true.where(~wrong, "y")), rows)
    path, worst = errors.leaves(root)[0]
    assert (worst.rate, worst.coverage, worst.rows) == (1.0, 1.0, int(wrong.sum()))
    assert any(each.startswith("town") for each in path)
    assert any(each.startswith("size > 12") for each in path)
    assert sum(node.rows for _, node in errors.leaves(root)) == 400


def test_what_moves_the_answers_of_a_line_are_its_own_weights(made: Path, report: Report) -> None:
    assert [*report.explained.importance][:2] == ["income", "sex"]
    asked, table = asking.load(made / "model"), tables.read(made / "test.csv")
    chances = asked.chances(table)[:, 1]
    odds = numpy.log(chances / (1 - chances))
    moved = numpy.array([sum(parts.values()) for parts in report.explained.parts])
    assert moved == pytest.approx(odds - odds.mean(), abs=1e-6)


@pytest.mark.parametrize("way", ["lightgbm", "xgboost"])
def test_trees_explain_themselves_exactly(way: training.Way) -> None:
    table = applicants(300, seed=3)
    model = training.train(way, table, LOAN, {"n_estimators": 15}).model
    asked = Asked(function=model, learner=model, names=("age", "income", "sex", "home"), types={}, about={})
    explained = explaining.explain(asked, table, "yes")
    odds = numpy.log(asked.chances(table)[:, 1] / asked.chances(table)[:, 0])
    moved = numpy.array([sum(parts.values()) for parts in explained.parts])
    assert numpy.ptp(odds - moved) < 1e-4
    turned = explaining.explain(asked, table, "no")
    assert turned.parts[0]["income"] == pytest.approx(-explained.parts[0]["income"])


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["forest", "neighbours"])
def test_other_models_are_explained_by_shap(algorithm: str) -> None:
    table = applicants(300, seed=3)
    model = training.train("sklearn", table, LOAN, {"algorithm": algorithm}).model
    asked = Asked(function=model, learner=model, names=("age", "income", "sex", "home"), types={}, about={})
    assert next(iter(explaining.explain(asked, table, "yes").importance)) in ("income", "age")


def test_counterfactuals_change_what_can_change_and_only_in_its_direction(made: Path, report: Report) -> None:
    asked, table = asking.load(made / "model"), tables.read(made / "test.csv")
    assert len(report.otherwise) == 3
    for each in report.otherwise:
        assert each.said == "no"
        assert not {"sex", "age"} & set(each.changes)
        assert all(after > before for name, (before, after) in each.changes.items() if name == "income")
        changed = table.iloc[[each.row]].assign(**{name: after for name, (_, after) in each.changes.items()})
        assert asked.predict(changed)[0] == "yes"
    nothing = counterfactuals.Limits(fixed=asked.names, only={})
    assert counterfactuals.search(asked, table, [report.otherwise[0].row], "yes", nothing)[0].changes == {}


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"performance": {"accuracy": 0.99}}, "accuracy is 0."),
        ({"difference": {"selection_rate": 0.05}, "columns": "sex"}, "selection_rate differs by 0."),
        ({"ratio": {"selection_rate": 0.8}, "columns": "sex"}, "of female is 0."),
        ({"difference": {"selection": 0.1}}, "no two groups can be compared by selection"),
        ({"performance": {"quality": 0.1}}, "quality: not measured; known: accuracy"),
    ],
)
def test_the_gate_says_what_speaks_against_a_model(report: Report, rules: dict[str, Any], told: str) -> None:
    decision = gate.decide(report, gate.read(rules))
    assert not decision.passed
    assert told in decision.failures[0]


def test_a_difference_that_is_not_certain_is_a_warning_where_that_is_asked(report: Report) -> None:
    found = report.sensitive[0].disparity("selection_rate")
    assert found is not None
    between = (found.low + found.difference) / 2
    rules = gate.Rules(difference={"selection_rate": between}, columns=("sex",), certain=True)
    decision = gate.decide(report, rules)
    assert decision.passed
    assert decision.warnings[0].endswith("but not for certain")
    assert decision.warnings[1] == "sex: too small to be compared: other (3)"
    with pytest.raises(Invalid, match="no rule 'diference'"):
        gate.read({"diference": {}})


@pytest.mark.parametrize(("method", "constraint"), [("reweigh", "parity"), ("reduction", "parity")])
def test_a_mended_model_treats_groups_more_alike(made: Path, method: Any, constraint: Any) -> None:
    asked, table = asking.load(made / "model"), tables.read(made / "train.csv")
    plan = mitigation.Plan(method=method, constraint=constraint, loss=0.2)
    model = mitigation.mitigate(asked.learner, asked.given(table), table["loan"], table["sex"], plan)
    test = tables.read(made / "test.csv")

    def apart(said: Any) -> float:
        return float(by_hand(test, said, "male").mean() - by_hand(test, said, "female").mean())

    assert apart(model.predict(asked.given(test))) < apart(asked.predict(test)) - 0.05
    assert type(model) is type(asked.learner)


def test_a_page_and_a_scorecard_need_nothing_else(report: Report) -> None:
    decision = gate.decide(report, gate.read({"ratio": {"selection_rate": 0.8}}))
    whole, card = page.page(report, decision), page.scorecard(report, decision)
    for text in (whole, card):
        assert "gate failed" in text
        assert "http" not in text
        assert "src=" not in text
    for part in ("Groups by sex", "Balance of the data by age", "Where it errs", "What moves its answers",
                 "What would have had to be otherwise"):  # fmt: skip
        assert part in whole
    assert "@page" in card
    assert json.dumps(report.plain(), allow_nan=False)


def test_the_command_of_the_gate_says_why_and_keeps_the_report(
    workspace: Workspace, made: Path, tmp_path: Path
) -> None:
    home = ("--home", str(workspace.home))
    workspace.assets.put("model", "loans", made / "model", properties={"type": "mlflow_model"})
    test = ("--data", str(made / "test.csv"), "--target", "loan", "--sensitive", "sex")
    (tmp_path / "rules.yaml").write_text("difference: {selection_rate: 0.05}\n")
    outputs = [arg for name in ("out.html", "out.json", "scorecard.html") for arg in ("-o", str(tmp_path / name))]
    rules = ("--rules", str(tmp_path / "rules.yaml"), "--min", "accuracy=0.7")
    said = typed(*home, "rai", "gate", "loans", *test, *rules, *outputs, code=3).stdout
    assert said.startswith("gate failed\n  sex: selection_rate differs by 0.")
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["gate"]["failures"][0] in said
    assert (tmp_path / "scorecard.html").read_text() != (tmp_path / "out.html").read_text()
    run = workspace.runs.list(kind="rai")[0]
    assert workspace.runs.metrics(run.run_id, "sex_selection_rate_difference")[-1].value > 0.1


@pytest.mark.slow
def test_the_command_mends_a_model_and_keeps_it(workspace: Workspace, made: Path) -> None:
    home = ("--home", str(workspace.home))
    model = workspace.assets.put("model", "loans", made / "model", properties={"type": "mlflow_model"})
    rows = ("--data", str(made / "train.csv"), "--test", str(made / "test.csv"))
    asked = (*rows, "--target", "loan", "--sensitive", "sex", "--json")
    mended = json.loads(typed(*home, "rai", "mitigate", model.ref.removeprefix("model:"), *asked).stdout)
    key = "selection_rate_difference by sex"
    assert mended["after"][key] < mended["before"][key]
    new = workspace.assets.get("model", mended["model"].removeprefix("model:"))
    assert (new.name, consent.objection(workspace.assets.path(new))) == ("loans-reweigh", None)
