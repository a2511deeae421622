"""Classical training: every way learns, is kept without a pickle, and answers the same when it is loaded again."""

from __future__ import annotations

import runpy
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest

from finetune import components
from finetune.tabular import asking, columns, forecaster, keeping, network, problems, tables, training, words
from finetune.tabular.problems import Problem
from jobs import consent
from jobs.files import read_component
from jobs.files.components import CommandComponent
from workspace.errors import Invalid, NotFound

Ran = Callable[..., Path]
BOUGHT = Problem(task="classification", targets=("bought",))


def people(rows: int = 300, *, seed: int = 0) -> pandas.DataFrame:
    """Return people who buy what is cheap for them, now and then."""
    chance = numpy.random.default_rng(seed)
    table = pandas.DataFrame(
        {
            "age": chance.integers(18, 80, rows).astype(float),
            "income": chance.normal(50, 15, rows),
            "town": chance.choice(["north", "south", "west"], rows),
        }
    )
    wants = table["income"] - 0.3 * table["age"] + 12 * (table["town"] == "south") + chance.normal(0, 8, rows)
    table["bought"] = numpy.where(wants > 40, "yes", "no")
    table["spent"] = wants.clip(lower=0)
    table.loc[::17, "income"] = numpy.nan
    table.loc[::23, "town"] = None
    return table


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ran:
    """Run a component of the pack by the command of its file: `ran("split_rows", rows=folder) / "train"`."""

    def run(name: str, **given: Any) -> Path:
        folder = tmp_path / f"{name}-{len([*tmp_path.iterdir()])}"
        component = read_component(components.file(name))
        assert isinstance(component, CommandComponent)
        values: dict[str, Any] = {
            f"inputs.{key}": each.default for key, each in component.inputs.items() if each.default is not None
        }
        values |= {f"inputs.{key}": value for key, value in given.items()}
        values |= {f"outputs.{key}": folder / key for key in component.outputs}
        parts: list[str] = []
        for piece in component.command.replace("]]", "[[").replace("$[[", "[[").split("[["):
            for key, value in values.items():
                piece = piece.replace("${{" + key + "}}", str(value))
            parts += [] if "${{" in piece else [piece]
        python, dash, module, *arguments = shlex.split(" ".join(parts))
        assert (python, dash) == ("python", "-m")
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        runpy.run_module(module, run_name="__main__")
        return folder

    return run


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    tables.write(people(), tmp_path / "rows" / "people.csv")
    return tmp_path / "rows"


@pytest.mark.parametrize(
    ("way", "settings"),
    [
        ("sklearn", {}),
        ("sklearn", {"algorithm": "forest", "n_estimators": 20}),
        ("sklearn", {"algorithm": "boosting", "max_iter": 20}),
        ("lightgbm", {"n_estimators": 20}),
        ("xgboost", {"n_estimators": 20}),
    ],
)
def test_a_model_is_kept_without_a_pickle_and_answers_as_before(
    tmp_path: Path, way: training.Way, settings: dict[str, Any]
) -> None:
    table = people()
    trained = training.train(way, table, BOUGHT, settings, held_out=people(200, seed=1))
    keeping.keep(trained, tmp_path / "model")
    assert consent.objection(tmp_path / "model") is None
    loaded = asking.load(tmp_path / "model")
    assert (loaded.predict(table) == training.predictions(trained, table)).all()
    assert loaded.beside(table.assign(town="never seen"))["prediction"].isin(["yes", "no"]).all()
    assert loaded.chances(table) == pytest.approx(training.probabilities(trained, table))
    assert trained.metrics["accuracy"] > 0.75
    assert "spent" in loaded.names


@pytest.mark.parametrize("way", ["lightgbm", "xgboost"])
def test_a_ranking_puts_the_rows_of_a_query_in_order(way: training.Way) -> None:
    chance = numpy.random.default_rng(0)
    table = pandas.DataFrame({"query": numpy.repeat(numpy.arange(40), 8), "near": chance.normal(size=320)})
    table["clicked"] = (table["near"] + chance.normal(0, 0.3, 320) > 0.8).astype(int)
    problem = Problem(task="ranking", targets=("clicked",), group="query")
    shuffled = table.sample(frac=1, random_state=0)
    trained = training.train(way, shuffled, problem, {"n_estimators": 20}, held_out=table)
    assert trained.metrics["ndcg_at_5"] > 0.9
    assert trained.looked.features == ("near",)


@pytest.mark.parametrize("way", ["sklearn", "lightgbm", "xgboost"])
def test_numbers_and_several_labels_are_learnt(way: training.Way) -> None:
    table = people()
    table["old"], table["rich"] = (table["age"] > 60).astype(int), (table["income"] > 55).astype(int)
    settings = {} if way == "sklearn" else {"n_estimators": 20}
    spent = Problem(task="regression", targets=("spent",), leave_out=("bought", "old", "rich"))
    assert training.train(way, table, spent, settings).metrics["r2"] > 0.5
    both = Problem(task="multilabel", targets=("old", "rich"))
    assert training.train(way, table, both, settings).metrics["f1_micro"] > 0.85


def test_a_network_learns_a_table_and_is_kept_as_safetensors(tmp_path: Path) -> None:
    table = people(600)
    looked = problems.look(table, BOUGHT)
    *epochs, trained = network.fit(looked, BOUGHT, network.Recipe(width=32, epochs=12, batch=64, learning_rate=5e-3))
    assert isinstance(trained, network.TableNetwork)
    assert isinstance(epochs[0], network.Epoch)
    assert (trained.predict(looked.rows) == looked.rows["bought"]).mean() > 0.8
    trained.save(tmp_path)
    again = network.load(tmp_path)
    strange = training.inputs(looked, table).assign(town="never seen", age=numpy.nan)
    assert (again.predict(strange) == trained.predict(strange)).all()
    with pytest.raises(Invalid, match="no number any more in epoch 1") as problem:
        list(network.fit(looked, BOUGHT, network.Recipe(width=8, learning_rate=1e30, epochs=3)))
    assert "try 1e+29" in str(problem.value.hint)


@pytest.mark.parametrize("way", forecaster.WAYS)
def test_a_forecast_goes_on_where_each_history_ends(tmp_path: Path, way: forecaster.Way) -> None:
    days = pandas.date_range("2025-01-01", periods=140)
    week = 10 + 3 * numpy.sin(numpy.arange(140) * 2 * numpy.pi / 7)
    table = pandas.concat(
        [
            pandas.DataFrame({"day": days.astype(str), "shop": name, "sold": level * week})
            for name, level in (("a", 1.0), ("b", 2.0))
        ]
    )
    before, after = table[table["day"] < "2025-05-07"], table[table["day"] >= "2025-05-07"]
    settings = forecaster.Settings(target="sold", time="day", series="shop", horizon=14, season=7, way=way, trees=60)
    forecaster.fit(before, settings).save(tmp_path)
    said = forecaster.load(tmp_path).predict(after)
    assert numpy.abs(said - after["sold"]).mean() < 0.8
    with pytest.raises(ValueError, match="must lie after 2025-05-06"):
        forecaster.load(tmp_path).predict(before.head(2))


def test_texts_are_told_apart_by_their_words(tmp_path: Path) -> None:
    said = ["where is my card", "my card is lost", "i forgot the pin", "a new pin please"] * 5
    table = pandas.DataFrame({"question": said, "intent": ["card", "card", "pin", "pin"] * 5})
    trained = words.train(table, Problem(task="classification", targets=("intent",)), "question")
    keeping.keep(trained, tmp_path / "model")
    assert [*asking.load(tmp_path / "model").predict(pandas.DataFrame({"question": ["the pin!"]}))] == ["pin"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda table: table.assign(bought="yes"), "'bought' has one class in all 300 rows: 'yes'"),
        (lambda table: table.assign(bought=None), "no row has a target in 'bought'"),
        (lambda table: table.drop(columns="bought"), "the table has no column 'bought'"),
        (lambda table: table.assign(bought=table["spent"] + numpy.arange(300)), "differing numbers in 300 rows"),
        (lambda table: table[["bought"]].assign(same=1), "no column is left to learn from: same: it is 1 in every row"),
    ],
)
def test_a_table_that_nothing_can_be_learnt_from_is_refused(change: Any, told: str) -> None:
    with pytest.raises(Invalid, match=told) as problem:
        problems.look(change(people()), BOUGHT)
    assert problem.value.hint


def test_what_may_surprise_is_said_of_each_column() -> None:
    table = people()
    table["same"], table["day"] = "x", pandas.date_range("2025-01-01", periods=300).strftime("%d.%m.%Y")
    table["number"], table["answer"] = table["age"].astype(str), table["bought"].map({"yes": 1.0, "no": 0.0})
    table.loc[0, "number"] = "?"
    table["name"] = [f"person {number}" for number in range(300)]
    table.loc[5, "bought"] = None
    looked = problems.look(table, BOUGHT)
    told = {each.column: each.what for each in looked.findings}
    assert told["same"] == "it is x in every row: left out"
    assert "dates as text" in told["day"]
    assert told["number"] == "1 values are no numbers ('?'): they count as missing"
    assert "it alone predicts 'bought' almost perfectly" in told["answer"]
    assert "it names the rows, or is text" in told["name"]
    assert told["bought"] == "1 rows without a target are left out"
    assert set(looked.features) == {"age", "income", "town", "spent", "number", "answer"}


def test_a_thousand_classes_are_learnt_and_told_of() -> None:
    table = pandas.DataFrame(
        {"place": numpy.tile(numpy.arange(1000.0), 3), "class": [f"c{n}" for n in range(1000)] * 3}
    )
    table.loc[len(table)] = [1001.0, "lonely"]
    problem = Problem(task="classification", targets=("class",))
    trained = training.train("sklearn", table, problem, {"algorithm": "neighbours", "n_neighbors": 1})
    told = [str(each) for each in trained.findings]
    assert told[0].startswith("class: 1,001 classes: boosted trees build one tree a class")
    assert told[1] == "class: 1 classes have a single row: lonely"
    assert trained.metrics["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "", "a.csv: the file is empty"),
        ("a.csv", "x,y\n", "a.csv: the table has no rows"),
        ("a.csv", "x,y\n1,2\n3,4,5\n6,7\n", "a.csv:3: a row is corrupt: Expected 2 fields in line 3, saw 3"),
        ("a.jsonl", '{"x": 1}\n{"x": \n', "a.jsonl:2: a row is corrupt"),
        ("a.parquet", "no parquet", "a.parquet: the file cannot be read as a table"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_its_line(tmp_path: Path, name: str, content: str, told: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(Invalid) as problem:
        tables.read(tmp_path / name)
    assert told in str(problem.value)
    with pytest.raises(NotFound):
        tables.read(tmp_path / "none.csv")


def test_columns_are_made_over_as_was_learnt_of_others() -> None:
    table, other = people(), people(50, seed=2).assign(town="never seen")
    table["day"] = other["day"] = "2025-03-04"
    leave = ("bought", "spent")
    full = columns.impute(other, columns.fit_imputation(table, leave=leave))
    assert full[["age", "income", "town"]].notna().all(axis=None)
    scaled = columns.scale(table, columns.fit_scaling(table, leave=leave))
    assert scaled["age"].mean() == pytest.approx(0)
    assert scaled["age"].std(ddof=0) == pytest.approx(1)
    encoded = columns.encode(other, columns.fit_encoding(table, leave=leave))
    assert encoded[["town=north", "town=south", "town=west"]].sum(axis=None) == 0
    assert encoded[["day.year", "day.month", "day.day"]].iloc[0].tolist() == [2025, 3, 4]
    ordinal = columns.encode(other, columns.fit_encoding(table, "ordinal", leave=leave))
    assert (ordinal["town"] == -1).all()


def test_every_component_of_the_pack_is_as_azure_ml_reads_it() -> None:
    assert len(components.names()) == 15
    for name in components.names():
        found = read_component(components.file(name), strict=True)
        assert found.name == name
        assert [str(each) for each in found.findings if each.weight != "note"] == []
        assert (components.FOLDER / f"{name}.py").is_file()


def test_the_components_make_a_model_of_a_table(ran: Ran, rows: Path, tmp_path: Path) -> None:
    with (rows / "people.csv").open("a") as file:
        file.write("30,40,north,yes,1,too many\n")
    cleaned = ran("clean_rows", rows=rows, target="bought")
    assert '"why": "corrupt", "line": 302' in (cleaned / "rejected" / "rows.jsonl").read_text()
    split = ran("split_rows", rows=cleaned / "kept", by_class="bought")
    test, train = tables.read(split / "test"), tables.read(split / "train")
    assert (len(test), len(train)) == (60, 240)
    assert (test["bought"] == "yes").mean() == pytest.approx((train["bought"] == "yes").mean(), abs=0.02)
    imputed = ran("impute_columns", rows=split / "train", leave="bought")
    same = ran("impute_columns", rows=split / "test", fitted=imputed / "learnt")
    for name in ("scale_columns", "encode_columns"):
        learnt = ran(name, rows=imputed / "made", leave="bought,spent")
        imputed, same = learnt, ran(name, rows=same / "made", fitted=learnt / "learnt")
    for name, more in (("train_lightgbm", {"trees": 20}), ("train_network", {"epochs": 3, "width": 16})):
        model = ran(name, train=imputed / "made", target="bought", leave_out="spent", **more)
        scored = ran("score_rows", rows=same / "made", model=model / "model")
        report = ran("evaluate_predictions", scored=scored / "scored", target="bought")
        assert '"auc": 0.' in (report / "report" / "metrics.json").read_text()
        assert "Are chances true?" in (report / "report" / "report.html").read_text()


def test_a_component_says_what_is_wrong_and_ends_with_1(
    ran: Ran, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        ran("train_sklearn", train=rows, target="bougth")
    assert end.value.code == 1
    assert capsys.readouterr().err == "error: the table has no column 'bougth'\nhint: did you mean 'bought'?\n"


def test_forecasts_and_pictures_are_components_too(ran: Ran, tmp_path: Path) -> None:
    from PIL import Image

    days = pandas.date_range("2025-01-01", periods=60)
    history = pandas.DataFrame({"day": days, "sold": 5 + numpy.arange(60) % 7})
    tables.write(history, tmp_path / "history" / "rows.parquet")
    model = ran("train_forecast", train=tmp_path / "history", target="sold", time="day", season=7, way="seasonal")
    assert (model / "model" / "MLmodel").is_file()
    assert consent.objection(model / "model") is None
    for number in range(12):
        kind = "dark" if number % 2 else "light"
        (tmp_path / "pictures" / kind).mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGB", (20, 20), (20, 20, 20) if number % 2 else (230, 230, 200 + number))
        picture.save(tmp_path / "pictures" / kind / f"{number}.png")
    model = ran("train_images", pictures=tmp_path / "pictures", size=16, width=4, epochs=6)
    import base64

    shown = base64.b64encode((tmp_path / "pictures" / "dark" / "1.png").read_bytes()).decode()
    assert [*asking.load(model / "model").predict(pandas.DataFrame({"image": [shown]}))] == ["dark"]
