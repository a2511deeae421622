"""AutoML on tables: what is refused, what columns become, how trials end, and what the model that is left says."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from finetune.automl import featurizer, trial, workers
from finetune.automl.algorithms import ALGORITHMS, CLASSIFIERS, REGRESSORS
from finetune.automl.assemble import assemble
from finetune.automl.columns import look
from finetune.automl.model import CHANCES, Member, TableModel
from finetune.automl.rows import Rows, prepared, rows_of, suspicious
from finetune.automl.search import Began, Found, Said, Tried, search
from finetune.automl.trial import Outcome
from finetune.automl.wanted import Columns, Wanted
from workspace.errors import Invalid

QUICK = ("light_gbm", "logistic_regression")


def table(count: int = 200) -> Any:
    """A table with a column of each kind; whoever lives in the north and is old says yes."""
    luck = np.random.default_rng(5)
    age, place = luck.integers(18, 80, count), luck.choice(["north", "south", "east"], count)
    words = luck.choice(["quick", "brown", "foxes", "jump", "over", "lazy", "dogs", "today"], (count, 6))
    score = (age - 45) / 15 + (place == "north") * 1.5 + luck.normal(0, 0.8, count)
    return pd.DataFrame({
        "row": np.arange(count), "age": age.astype(float), "place": place,
        "pay": [f"{value:.1f}" for value in luck.normal(30, 5, count)],
        "when": [f"2024-{1 + number % 12:02}-{1 + number % 28:02}" for number in range(count)],
        "said": [" ".join(each) for each in words], "code": [f"c{number % 150}" for number in range(count)],
        "same": 1, "score": score, "answer": np.where(score > 0, "yes", "no"),
    })  # fmt: skip


def wanted(**given: Any) -> Wanted:
    usual: dict[str, Any] = {"task": "classification", "target": "answer", "folds": 2, "most_trials": 3, "cores": 1,
                             "allowed": QUICK}  # fmt: skip
    return Wanted(**{**usual, **given})


def made_ready(frame: Any, asked: Wanted) -> Rows:
    rows = rows_of(frame, asked)
    rows.prepared = prepared(rows)
    return rows


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], Path]:
    """One search to its end."""
    folder = tmp_path_factory.mktemp("search")
    return list(search(table().drop(columns="score"), wanted(), folder=folder)), folder


def test_each_column_is_taken_for_what_it_is_and_says_why() -> None:
    found = {column.name: column for column in look(table())}
    purposes = {name: column.purpose for name, column in found.items()}
    assert purposes == {
        "row": "ignore", "age": "numeric", "place": "category", "pay": "numeric", "when": "date", "said": "text",
        "code": "category", "same": "ignore", "score": "numeric", "answer": "category",
    }  # fmt: skip
    assert "counts the rows" in found["row"].why
    assert "same value" in found["same"].why
    assert "texts are dates" in found["when"].why


@pytest.mark.parametrize(("change", "says"), [
    (lambda frame: frame.assign(answer="yes"), "one class only"),
    (lambda frame: frame.iloc[:0], "no row"),
    (lambda frame: frame.iloc[:5], "too few"),
    (lambda frame: frame.drop(columns="answer"), "no column 'answer'"),
    (lambda frame: frame.assign(answer=None), "no row has a value of the target"),
    (lambda frame: frame[["answer", "same"]], "no column can be learned from"),
])  # fmt: skip
def test_a_table_that_nothing_can_be_learned_from_is_refused(change: Any, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        rows_of(change(table()), wanted())


def test_numbers_are_not_learned_from_words() -> None:
    with pytest.raises(Invalid, match="no numbers, such as") as refused:
        rows_of(table(), wanted(task="regression"))
    assert "classification" in str(refused.value.hint)


def test_a_column_that_gives_the_target_away_is_named() -> None:
    rows = made_ready(table().assign(later=lambda frame: frame["answer"].map({"yes": 1.0, "no": 0.0})), wanted())
    assert any("'later' alone predicts" in each for each in suspicious(rows))
    assert not any("'age'" in each for each in suspicious(rows))


def test_no_row_is_encoded_by_its_own_target() -> None:
    """Of a column of noise, encoded by a target, nothing is left: what a row's own answer says does not leak."""
    luck = np.random.default_rng(0)
    frame = pd.DataFrame({"noise": [f"w{each}" for each in luck.integers(0, 150, 400)], "x": luck.normal(size=400),
                          "answer": luck.choice(["yes", "no"], 400)})  # fmt: skip
    rows = made_ready(frame, wanted())
    view = featurizer.View(featurizer.CODES, rows.plan)
    shown = view.fit(rows.prepared, rows.target)
    place = view.transformer.output_indices_["word noise"].start
    assert abs(np.corrcoef(shown[:, place], rows.target)[0, 1]) < 0.2


def test_what_the_file_says_of_columns_holds() -> None:
    said = Columns(
        mode="custom", purposes={"row": "Numeric"}, blocked=("one_hot_encoder",),
        parameters={"imputer": ((("age",), {"strategy": "constant", "fill_value": -7}),)},
    )  # fmt: skip
    frame = table().assign(age=lambda each: each["age"].where(each.index > 3))
    rows = made_ready(frame.drop(columns="score"), wanted(columns=said))
    told = {each["name"]: each for each in featurizer.explained(rows.plan, [featurizer.NUMBERS], len(frame))}
    assert told["row"]["why"] == "the job's file says so"
    assert "strategy=constant" in told["age"]["steps"]["numbers"][0]
    assert told["place"]["steps"]["numbers"] == ["OrdinalEncoder()"]
    view = featurizer.View(featurizer.CODES, rows.plan)
    assert -7.0 in view.fit(rows.prepared, rows.target)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_every_algorithm_is_kept_without_code_and_says_the_same_again(kind: str, tmp_path: Path) -> None:
    names = CLASSIFIERS if kind == "classification" else REGRESSORS
    target = "answer" if kind == "classification" else "score"
    frame = table(120).drop(columns="score" if kind == "classification" else "answer")
    rows = made_ready(frame, wanted(task=kind, target=target, allowed=()))
    members = []
    for number, (called, name) in enumerate(names.items()):
        algorithm = ALGORITHMS[name]
        params = {**algorithm.first[0], "view": algorithm.views[0]}
        params |= {"n_estimators": 5} if "n_estimators" in params else {}
        members.append(Member(number=number, algorithm=name, called=called, params=params, weight=1 / len(names),
                              rounds=5))  # fmt: skip
    assemble(rows, members, tmp_path, meta=None, score=0.0)
    said = TableModel(tmp_path).chances(frame)
    assert np.isfinite(said).all()
    if kind == "classification":
        assert said.sum(axis=1) == pytest.approx(1.0)
        assert TableModel(tmp_path).predict(frame).tolist().count("yes") == pytest.approx(
            int((frame["answer"] == "yes").sum()), abs=15
        )


def test_a_search_ends_with_a_model_that_is_better_than_luck(searched: tuple[list[Any], Path]) -> None:
    events, _ = searched
    found = events[-1]
    assert isinstance(found, Found)
    assert found.score > 0.8
    assert [each.outcome.status for each in events if isinstance(each, Tried)] == ["Completed"] * 3
    assert found.why == "3 trials were made"
    assert {"VotingEnsemble", "StackEnsemble"} == set(found.ensembles)


def test_the_model_takes_what_it_has_never_seen(searched: tuple[list[Any], Path]) -> None:
    model = TableModel(searched[0][-1].folder)
    odd = table(3).assign(place=["mars", None, "north"], age=[None, 30.0, 70.0], when=["never", None, "2031-01-01"])
    assert set(model.predict(odd)) <= {"yes", "no"}
    assert list(model.predict(odd, {"output": CHANCES}).columns) == ["no", "yes"]
    with pytest.raises(Invalid, match="no column 'age'"):
        model.predict(odd.drop(columns="age"))


def test_a_search_goes_on_with_the_trials_that_had_ended(searched: tuple[list[Any], Path], tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "again"
    shutil.copytree(searched[1], folder)
    shutil.rmtree(folder / "model")
    shutil.rmtree(folder / "2")
    events: list[Any] = list(search(table().drop(columns="score"), wanted(), folder=folder))
    began = events[0]
    assert isinstance(began, Began)
    assert [each.number for each in began.before] == [0, 1]
    assert [each.outcome.number for each in events if isinstance(each, Tried)] == [2]
    assert events[-1].score == pytest.approx(searched[0][-1].score)


def test_a_trial_that_takes_too_long_is_ended_and_one_that_breaks_says_why() -> None:
    def work(asked: str) -> str:
        if asked == "slow":
            time.sleep(60)
        if asked == "dies":
            raise MemoryError
        return asked

    said = []
    with workers.Crew(lambda: work, count=3, threads=1) as crew:
        for asked in ("slow", "dies", "works"):
            crew.ask(asked, deadline=time.monotonic() + (0.3 if asked == "slow" else 30))
        while crew.busy:
            said += list(crew.answers())
    errors = {each.asked: each.error for each in said}
    assert errors["slow"] == "its time was over"
    assert "memory ran out" in errors["dies"]
    assert errors["works"] == ""


def test_imbalance_is_told_and_balanced_weights_are_tried() -> None:
    from finetune.automl.propose import Proposer

    frame = table().drop(columns="score").assign(answer=["yes"] * 20 + ["no"] * 180)
    rows = made_ready(frame, wanted())
    assert any("imbalanced" in note for note in rows.notes)
    assert any(params.get("balanced") for _, params in Proposer(rows).first)
    equal = trial.weights_of(rows, balanced=True)
    assert equal is not None
    assert equal[rows.target == 1].sum() == pytest.approx(equal[rows.target == 0].sum())


def test_a_thousand_classes_are_learned(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.repeat(np.arange(1000.0), 3), "y": np.tile([0.0, 1.0, 2.0], 1000)})
    frame["answer"] = frame["x"].map(lambda each: f"class {each:.0f}")
    asked = wanted(allowed=("decision_tree",), most_trials=1, votes=False, stacks=False)
    found: Any = list(search(frame, asked, folder=tmp_path))[-1]
    assert len(TableModel(found.folder).contract.classes) == 1000


@pytest.fixture(scope="module")
def blocked() -> Wanted:
    return wanted(allowed=(), blocked=tuple(CLASSIFIERS))


def test_blocking_everything_is_refused(blocked: Wanted, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="all algorithms are blocked"):
        list(search(table(), blocked, folder=tmp_path))
    with pytest.raises(Invalid, match="both allowed and blocked"):
        replace(blocked, allowed=("knn",))


def test_texts_are_classified_and_several_labels_told(tmp_path: Path) -> None:
    luck = np.random.default_rng(1)
    topics = {"pay": "my card payment was declined today", "app": "the app crashes on my phone screen"}
    rows = [(name, f"{topics[name]} {luck.integers(1000)} again please") for name in luck.choice(list(topics), 60)]
    frame = pd.DataFrame(rows, columns=["labels", "text"])
    frame["labels"] = frame["labels"].map(lambda each: str([each, "any"]))
    asked = wanted(
        task="text_classification_multilabel", target="labels", most_trials=1, allowed=("logistic_regression",),
        columns=Columns(blocked=("word_embedding",)),
    )  # fmt: skip
    found: Any = list(search(frame, asked, folder=tmp_path))[-1]
    said = TableModel(found.folder).predict(pd.DataFrame({"text": ["card payment declined", "app crashes"]}))
    assert said.tolist() == ["any, pay", "any, app"]


def test_what_is_told_counts_every_held_row(searched: tuple[list[Any], Path]) -> None:
    from finetune.automl import facts
    from finetune.automl.page import page

    found = searched[0][-1]
    told = workers.apart(partial(facts.facts, found), threads=1)
    assert sum(map(sum, told["confusion"]["counts"])) == 200
    assert told["leaderboard"][0]["score"] == pytest.approx(found.score)
    assert told["importance"][0]["column"] in ("age", "place")
    shown = page(told, name="mine <b>")
    assert "mine &lt;b&gt;" in shown
    assert "http" not in shown.replace("http-equiv", "")
    assert [each for each in searched[0] if isinstance(each, Said)] == []
    assert isinstance(found.outcomes[0], Outcome)
