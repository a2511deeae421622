"""What every engine that scores promises behind the gateway: flows, scripts and models logged by MLflow."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import pytest_asyncio

from serving import endpoints, replicas
from serving.call import Limits
from serving.gateway import create_app
from serving.replicas import Replica
from tests.serving.conftest import listening, until
from workspace.home import Workspace
from workspace.settings import Settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

FLOW = """\
inputs:
  said: {type: string}
outputs:
  answer: {type: string, reference: "${say.output}"}
nodes:
- name: say
  type: python
  source: {type: code, path: say.py}
  inputs: {said: "${inputs.said}"}
"""
SAY = """\
import time

from promptflow.core import tool


@tool
def say(said: str) -> str:
    if said == "wait":
        time.sleep(3)
    return said
"""
SCRIPT = """\
import json
import time


def run(raw):
    said = json.loads(raw)["said"]
    if said == "wait":
        time.sleep(3)
    return {"answer": said}
"""


@dataclass(frozen=True)
class House:
    """An engine behind a gateway, as endpoint "scores"; what to send and what must come back."""

    workspace: Workspace
    http: httpx.AsyncClient
    key: str
    given: Any
    wanted: Any
    slow: Any  # takes seconds, where the engine can be told to take its time

    async def score(self, given: Any = None) -> httpx.Response:
        return await self.http.post("/endpoints/scores/score", json=self.given if given is None else given)

    @property
    def replica(self) -> Replica:
        return next(each for each in replicas.living(self.workspace.home) if each.group == self.key)


def _flow(workspace: Workspace, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(FLOW)
    (folder / "say.py").write_text(SAY)
    return {"engine": "flow", "model": workspace.assets.put("flow", "say", folder).ref}


def _script(workspace: Workspace, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    (folder / "score.py").write_text(SCRIPT)
    code = workspace.assets.put("component", "say", folder)
    settings = {"timeout": 30.0, "concurrency": 4}
    return {
        "engine": "script",
        "properties": {"code": code.ref, "scoring_script": "score.py", "workers": 2, "settings": settings},
    }


def _mlflow(workspace: Workspace, folder: Path) -> dict[str, Any]:
    import mlflow
    import numpy
    import xgboost

    rows = numpy.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(rows, label=rows.sum(1)), num_boost_round=30)
    mlflow.xgboost.save_model(booster, folder, signature=mlflow.models.infer_signature(rows, rows.sum(1)))
    asset = workspace.assets.put("model", "sums", folder, properties={"type": "mlflow_model"})
    return {"engine": "mlflow", "model": asset.ref, "properties": {"settings": {"timeout": 30.0}}}


SAYS = ({"said": "hi"}, {"answer": "hi"}, {"said": "wait"})
CASES: dict[str, tuple[Callable[[Workspace, Path], dict[str, Any]], tuple[Any, Any, Any]]] = {
    "flow": (_flow, SAYS),
    "script": (_script, SAYS),
    "mlflow": (_mlflow, ({"input_data": [[1.0, 2.0]]}, None, None)),
}


@pytest_asyncio.fixture(params=CASES, scope="module", loop_scope="module")
async def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """One for all tests of an engine: some take five seconds to start."""
    make, (given, wanted, slow) = CASES[request.param]
    folder = tmp_path_factory.mktemp("scores")
    with Workspace.open(settings=Settings(home=folder / "home")) as workspace:
        endpoints.put(workspace, "scores")
        way = endpoints.put_deployment(workspace, "scores", "blue", **make(workspace, folder / "content"))
        endpoints.put(workspace, "scores", traffic={"blue": 100})
        headers = {"authorization": f"Bearer {workspace.tokens.local()}"}
        app = create_app(workspace, limits=Limits(loading=120.0))
        async with listening(app) as url, httpx.AsyncClient(base_url=url, headers=headers, timeout=120) as http:
            yield House(workspace, http, replicas.key_of(way), given, wanted, slow)
        replicas.stop_all(workspace.home)


async def test_it_answers_says_how_it_is_and_only_the_gateway_reaches_it(house: House) -> None:
    answer = await house.score()
    assert answer.status_code == 200, answer.text
    if house.wanted is not None:
        assert answer.json() == house.wanted
    [told] = (await house.http.get("/health")).json()["engines"]
    assert told["state"] == "ready"
    assert told["memory"] > 1_000_000
    path = Path(house.replica.socket)
    private = not path.lstat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    assert private or not path.parent.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    family = [house.replica.pid, *(each.pid for each in psutil.Process(house.replica.pid).children(recursive=True))]
    for pid in family:
        assert all(each.status != psutil.CONN_LISTEN for each in psutil.Process(pid).net_connections("inet"))


async def test_what_it_cannot_score_is_told_and_the_next_is_scored(house: House) -> None:
    refused = await house.score({"nonsense": [object.__name__]})
    assert 400 <= refused.status_code < 500
    assert refused.text
    assert refused.status_code != 424 or refused.headers["ms-azureml-model-error-reason"]
    assert (await house.score()).status_code == 200


async def test_one_that_is_killed_comes_back_by_itself(house: House) -> None:
    assert (await house.score()).status_code == 200
    before = house.replica
    family = [before.pid, *(each.pid for each in psutil.Process(before.pid).children(recursive=True))]
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await until(lambda: not before.alive)
    await until(lambda: any(each.pid != before.pid for each in replicas.living(house.workspace.home)))
    assert (await house.score()).status_code == 200


@pytest.mark.slow
async def test_one_that_is_to_stop_ends_its_work_first(house: House) -> None:
    if house.slow is None:
        pytest.skip("a model cannot be told to take its time")
    assert (await house.score()).status_code == 200
    replica = house.replica
    under_way = asyncio.create_task(house.score(house.slow))
    await asyncio.sleep(0.5)
    endpoints.put(house.workspace, "scores", traffic={"blue": 0})
    endpoints.remove_deployment(house.workspace, "scores", "blue")
    answer = await under_way
    assert answer.status_code == 200, answer.text
    await until(lambda: not replica.alive)
