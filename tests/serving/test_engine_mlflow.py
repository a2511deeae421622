"""Models logged by MLflow behind their engine, as Azure ML serves them without code."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs import consent
from jobs.environments import Prepared, Preparing, store
from jobs.environments.spec import Spec, key
from serving import endpoints, python_environments
from serving.engines.launches import kind
from serving.python_environments import of_mlflow
from tests.serving.scoring_engine import engine
from workspace.assets import Asset
from workspace.errors import Denied, Invalid, NotFound
from workspace.home import Workspace

ROWS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]
FORMS: list[Any] = [
    {"columns": ["a", "b"], "index": [0, 1], "data": [[1, 2], [3, 4]]},
    {"columns": ["b", "a"], "data": [[2, 1], [4, 3]]},
    [[1, 2], [3, 4]],
    {"a": [1, 3], "b": [2, 4]},
    [{"a": 1, "b": 2}, {"a": 3, "b": 4}],
]


def saved(folder: Path, flavor: str) -> Path:
    """Save a model that adds, more or less."""
    import mlflow
    import numpy
    import pandas

    table = pandas.DataFrame(ROWS, columns=["a", "b"])
    target = table["a"] + table["b"]
    signature = mlflow.models.infer_signature(table, numpy.array(target))
    if flavor == "sklearn":
        from sklearn.linear_model import LinearRegression

        model = LinearRegression().fit(table, target)
        mlflow.sklearn.save_model(model, folder, signature=signature, serialization_format="cloudpickle")
    elif flavor == "xgboost":
        import xgboost

        booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(table, label=target), num_boost_round=30)
        mlflow.xgboost.save_model(booster, folder, signature=signature)
    elif flavor == "lightgbm":
        import lightgbm

        given = lightgbm.Dataset(table, label=target, params={"min_data_in_leaf": 1, "min_data_in_bin": 1})
        mlflow.lightgbm.save_model(
            lightgbm.train({"min_data_in_leaf": 1, "verbose": -1}, given, 30), folder, signature=signature
        )
    elif flavor == "torch":
        import torch

        network = torch.nn.Linear(2, 1)
        tensors = mlflow.models.infer_signature(numpy.array(ROWS, "float32"), numpy.zeros((4, 1), "float32"))
        mlflow.pytorch.save_model(network, folder, signature=tensors, serialization_format="pickle")
    return folder


def registered(workspace: Workspace, content: Path) -> Asset:
    return workspace.assets.put("model", content.name, content, properties={"type": "mlflow_model"})


def deployed(workspace: Workspace, asset: Asset, *, allow: bool = False, **properties: Any) -> endpoints.Deployment:
    endpoints.put(workspace, "bot")
    given = {consent.PROPERTY: asset.digest} if allow else {}
    return endpoints.put_deployment(
        workspace, "bot", "blue", engine="mlflow", model=asset.ref, properties={**given, **properties}
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Each model is saved once."""
    root = tmp_path_factory.mktemp("mlflow")

    def get(flavor: str) -> Path:
        return root / flavor if (root / flavor).exists() else saved(root / flavor, flavor)

    return get


@pytest.fixture
def serve(workspace: Workspace, models: Callable[[str], Path]) -> Iterator[Callable[..., httpx.Client]]:
    with ExitStack() as stack:

        def start(flavor: str, **more: Any) -> httpx.Client:
            deployment = deployed(workspace, registered(workspace, models(flavor)), **more)
            return stack.enter_context(engine(workspace, deployment))

        yield start


def test_every_form_of_input_that_azure_ml_takes_gives_the_same_bare_list(
    serve: Callable[..., httpx.Client],
) -> None:
    client = serve("sklearn", allow=True)
    for form in FORMS:
        answer = client.post("/score", json={"input_data": form})
        assert answer.json() == pytest.approx([3.0, 7.0]), form
    split = {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}}
    assert client.post("/invocations", json=split).json() == {"predictions": [pytest.approx(3.0)]}
    csv = client.post("/invocations", content="a,b\n1,2\n", headers={"content-type": "text/csv"})
    assert csv.json() == {"predictions": [pytest.approx(3.0)]}
    described = client.get("/swagger.json").json()["definitions"]["ServiceInput"]
    assert described["properties"]["input_data"]["properties"]["columns"]["items"]["enum"] == ["a", "b"]


def test_what_the_model_does_not_take_is_told(serve: Callable[..., httpx.Client]) -> None:
    client = serve("xgboost")
    wrong_bodies: list[Any] = [{"data": []}, [1], {"input_data": 3}]
    for body in wrong_bodies:
        assert client.post("/score", json=body).status_code == 400
    assert client.post("/score", content="{").status_code == 400
    wrong = client.post("/score", json={"input_data": {"columns": ["a"], "data": [[1]]}})
    assert wrong.status_code == 500
    assert "missing" in wrong.text.lower()
    assert client.post("/score", json={"input_data": FORMS[0]}).json() == pytest.approx([3.0, 7.0], abs=0.5)


@pytest.mark.parametrize(("flavor", "allow"), [("lightgbm", False), ("torch", True)])
def test_other_flavors_answer_too(serve: Callable[..., httpx.Client], flavor: str, allow: bool) -> None:
    answer = serve(flavor, allow=allow).post("/score", json={"input_data": [[1.0, 2.0], [3.0, 4.0]]})
    assert len(answer.json()) == 2


def test_a_model_that_can_run_code_is_not_loaded_without_consent_to_this_very_content(
    workspace: Workspace, models: Callable[[str], Path], tmp_path: Path
) -> None:
    asset = registered(workspace, models("sklearn"))
    launch = kind("mlflow").launch
    with pytest.raises(Denied, match="sklearn loads it with cloudpickle"):
        launch(workspace, deployed(workspace, asset))
    allowed = deployed(workspace, asset, allow=True)
    launch(workspace, allowed)
    other = workspace.assets.put("model", "other", models("torch"), properties={"type": "mlflow_model"})
    with pytest.raises(Denied):
        launch(workspace, replace(allowed, model=other.ref))


def test_the_engine_itself_refuses_too(workspace: Workspace, models: Callable[[str], Path], tmp_path: Path) -> None:
    from serving.engines import mlflow as engine_process
    from serving.engines.scoring_spec import ScoringSpec

    spec = ScoringSpec(endpoint="e", deployment="d", engine="mlflow", python="python", scorer="s", folder=str(tmp_path),
                       model=str(models("sklearn")))  # fmt: skip
    (tmp_path / "spec.json").write_text(spec.text())
    arguments = ["--spec", str(tmp_path / "spec.json"), "--socket", str(tmp_path / "s.sock")]
    assert engine_process.main(arguments) == 1


PYFUNC = "flavors:\n  python_function:\n    loader_module: {loader}\n{more}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (PYFUNC.format(loader="mlflow.xgboost", more="  xgboost:\n    data: model.ubj\n"), None),
        (PYFUNC.format(loader="mlflow.lightgbm", more="  lightgbm:\n    data: model.lgb\n"), None),
        (PYFUNC.format(loader="mlflow.sklearn", more="  sklearn:\n    serialization_format: skops\n"), None),
        (PYFUNC.format(loader="mlflow.onnx", more="  onnx:\n    data: model.onnx\n"), None),
        (PYFUNC.format(loader="mlflow.xgboost", more="    code: code\n  xgboost:\n    data: m\n"), "code of its own"),
        (PYFUNC.format(loader="mlflow.xgboost", more="  xgboost:\n    model_class: os.system\n"), "os.system"),
        (PYFUNC.format(loader="mlflow.lightgbm", more="  lightgbm:\n    model_class: lightgbm.LGBMClassifier\n"),
         "cloudpickle"),
        (PYFUNC.format(loader="mlflow.sklearn", more="  sklearn:\n    serialization_format: skops\n"
                       "    skops_trusted_types: [os.system]\n"), "trust"),
        (PYFUNC.format(loader="mlflow.sklearn", more="  sklearn:\n    serialization_format: skops\n"
                       "    skops_trusted_types: [numpy.dtype, lightgbm.basic.Booster]\n"), None),
        (PYFUNC.format(loader="finetune.tabular.network", more=""), None),
        (PYFUNC.format(loader="finetune.tabular.unknown", more=""), "loaded by"),
        (PYFUNC.format(loader="mlflow.sklearn", more="  sklearn: {}\n"), "cloudpickle"),
        (PYFUNC.format(loader="mlflow.pyfunc.model", more=""), "mlflow.pyfunc.model"),
        (PYFUNC.format(loader="evil", more="  xgboost: {}\n"), "evil"),
        ("flavors:\n  xgboost: {}\n", "nothing"),
        ("model_code_path: m.py\n" + PYFUNC.format(loader="mlflow.xgboost", more="  xgboost: {}\n"), "code of its own"),
    ],
)  # fmt: skip
def test_formats_are_harmless_by_name_only(tmp_path: Path, text: str, why: str | None) -> None:
    (tmp_path / "MLmodel").write_text(text)
    found = consent.objection(tmp_path)
    assert found is None if why is None else why in str(found)


def test_a_folder_that_is_no_model_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        consent.objection(tmp_path)
    (tmp_path / "MLmodel").write_text("flavors: [1]\n")
    with pytest.raises(Invalid):
        consent.objection(tmp_path)


def test_inputs_and_outputs_are_collected_under_the_id_of_the_request(
    serve: Callable[..., httpx.Client], workspace: Workspace
) -> None:
    collected = {"collections": ["model_inputs", "model_outputs"]}
    client = serve("xgboost", data_collector=collected)
    client.post("/score", json={"input_data": FORMS[0]}, headers={"x-request-id": "r-1"})
    events: dict[str, Any] = {}
    deadline = time.monotonic() + 5
    while len(events) < 2 and time.monotonic() < deadline:
        found = (workspace.home / "modelDataCollector/bot/blue").glob("*/*/*/*/*/*.jsonl")
        events = {path.parts[-6]: json.loads(path.read_text()) for path in found}
    assert events["model_inputs"]["data"] == [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]
    assert {event["correlationid"] for event in events.values()} == {"r-1"}
    assert len(events["model_outputs"]["data"]) == 2


def test_this_python_is_used_where_it_has_what_the_model_asks_for(models: Callable[[str], Path]) -> None:
    asked = of_mlflow(models("xgboost"))
    assert any(line.startswith("mlflow==") for line in asked.packages)
    assert python_environments.unsatisfied(asked) == []
    last = list(python_environments.prepare(asked))[-1]
    assert isinstance(last, Prepared)
    assert last.python == python_environments.find(asked) == Path(sys.executable)


def test_what_is_missing_is_named() -> None:
    asked = Spec(python="2.7", packages=("packaging<1", "no-such-thing", "rich; python_version < '3'", "-e ."))
    assert python_environments.unsatisfied(asked) == ["python 2.7", "packaging<1", "no-such-thing", "-e ."]


def test_an_environment_is_made_once_and_has_the_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wheel = tiny_wheel(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = Spec(packages=(str(wheel),))
    assert python_environments.find(asked) is None
    events = list(python_environments.prepare(asked))
    assert isinstance(events[0], Preparing)
    ready = events[-1]
    assert isinstance(ready, Prepared)
    assert list((tmp_path / "cache").rglob("tinything.py"))
    assert list(python_environments.prepare(asked)) == [ready]
    store.remove(tmp_path / "cache" / "studiolo", key(asked))
    assert python_environments.find(asked) is None


def tiny_wheel(folder: Path) -> Path:
    """Write a wheel by hand: an environment can be made of it without any index."""
    import zipfile

    path = folder / "tinything-1.0-py3-none-any.whl"
    about = "Metadata-Version: 2.1\nName: tinything\nVersion: 1.0\n"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tinything.py", "WORD = 'tiny'\n")
        file.writestr("tinything-1.0.dist-info/METADATA", about)
        file.writestr("tinything-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("tinything-1.0.dist-info/RECORD", "")
    return path


def test_a_script_runs_by_the_python_of_its_requirements(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = Spec(packages=(str(tiny_wheel(tmp_path)),))
    list(python_environments.prepare(asked))
    (tmp_path / "code").mkdir()
    text = "import tinything\n\ndef run(raw):\n    try:\n        import typer\n    except ImportError:\n"
    (tmp_path / "code" / "score.py").write_text(text + "        return tinything.WORD\n    return 'leaked'\n")
    code = workspace.assets.put("component", "code", tmp_path / "code")
    endpoints.put(workspace, "bot")
    properties = {"code": code.ref, "scoring_script": "score.py", "requirements": {"packages": list(asked.packages)}}
    deployment = endpoints.put_deployment(workspace, "bot", "blue", engine="script", properties=properties)
    with engine(workspace, deployment) as client:
        assert client.post("/score", content="x").json() == "tiny"
