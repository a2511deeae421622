"""The scoring contract of Azure ML at the gateway, over scripts that really run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving import endpoint_keys, endpoints, replicas
from serving.call import Limits
from serving.gateway import create_app
from serving.rollouts import records
from serving.rollouts.records import Plan
from tests.serving.conftest import listening
from workspace.home import Workspace

ECHO = "import json\n\ndef run(raw):\n    return {'way': '%s', 'said': json.loads(raw)}\n"
SLOW = "import time\n\ndef run(raw):\n    open('ran.txt', 'a').write('x')\n    time.sleep(float(raw))\n    return raw\n"
BROKEN = "def run(raw):\n    open('ran.txt', 'a').write('x')\n    raise ValueError('no such\\nrow')\n"
THIRD = "count = 0\n\ndef run(raw):\n    global count\n    count += 1\n    return 1 if count % 3 else 1 / 0\n"
RAW = """\
from azureml.contrib.services.aml_request import rawhttp
from azureml.contrib.services.aml_response import AMLResponse

@rawhttp
def run(request):
    if request.method == "GET":
        return AMLResponse("asked " + request.args["q"] + " by " + request.headers["x-who"], 200, {"x-own": "1"})
    if request.content_type == "image/png":
        return AMLResponse(request.get_data(), 201, {"content-type": "image/png"})
    return AMLResponse({"error": {"message": "no picture"}}, 415, json_str=True)
"""

Deploy = Callable[..., endpoints.Deployment]


@pytest.fixture
def deploy(workspace: Workspace, tmp_path: Path) -> Deploy:
    """Deploy a script: `deploy("bot", "blue", TEXT, settings={…})`."""

    def made(endpoint: str, name: str, text: str, **properties: Any) -> endpoints.Deployment:
        folder = tmp_path / f"{endpoint}-{name}"
        folder.mkdir(exist_ok=True)
        (folder / "score.py").write_text(text)
        code = workspace.assets.put("component", f"{endpoint}-{name}", folder)
        endpoints.put(workspace, endpoint)
        properties |= {"code": code.ref, "scoring_script": "score.py"}
        return endpoints.put_deployment(workspace, endpoint, name, engine="script", properties=properties)

    return made


@pytest.fixture
async def door(workspace: Workspace) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway over the workspace, spoken to with its token."""
    headers = {"authorization": f"Bearer {workspace.tokens.local()}", "content-type": "application/json"}
    app = create_app(workspace, limits=Limits(loading=60.0))
    async with listening(app) as base_url, httpx.AsyncClient(base_url=base_url, headers=headers, timeout=60) as client:
        yield client
    replicas.stop_all(workspace.home)


async def test_an_endpoint_is_named_by_its_path_by_a_header_or_by_being_the_only_one(
    door: httpx.AsyncClient, deploy: Deploy, workspace: Workspace
) -> None:
    deploy("bot", "blue", ECHO % "blue")
    named = await door.post("/endpoints/bot/score", json=[1])
    assert named.json() == {"way": "blue", "said": [1]}
    assert named.headers["x-ms-request-id"] == named.headers["x-request-id"]
    assert named.headers["azureml-model-deployment"] == "blue"
    assert (await door.post("/score", json=1)).json()["said"] == 1
    endpoints.put(workspace, "other")
    await asyncio.sleep(1.2)
    assert (await door.post("/score", json=2, headers={"azureml-endpoint": "bot"})).json()["said"] == 2
    refused = await door.post("/score", json=3)
    assert refused.status_code == 404
    assert "bot, other" in refused.json()["error"]["message"]
    assert (await door.post("/endpoints/bto/score", json=3)).status_code == 404
    endpoints.put(workspace, "nightly", kind="batch")
    await asyncio.sleep(1.2)
    assert (await door.post("/endpoints/nightly/score", json=3)).status_code == 404


async def test_traffic_chooses_and_a_header_goes_past_it(
    door: httpx.AsyncClient, deploy: Deploy, workspace: Workspace
) -> None:
    for way in ("blue", "green"):
        deploy("bot", way, ECHO % way)
    untold = await door.post("/endpoints/bot/score", json=1)
    assert (untold.status_code, untold.json()["error"]["code"]) == (404, "no_traffic")
    endpoints.put(workspace, "bot", traffic={"blue": 100, "green": 0})
    await asyncio.sleep(1.2)
    assert (await door.post("/endpoints/bot/score", json=1)).json()["way"] == "blue"
    past = await door.post("/endpoints/bot/score", json=1, headers={"azureml-model-deployment": "green"})
    assert past.json()["way"] == "green"
    unknown = await door.post("/endpoints/bot/score", json=1, headers={"azureml-model-deployment": "red"})
    assert unknown.status_code == 404


async def test_a_failure_of_the_script_is_424_with_its_status_and_words_and_the_script_ran_once(
    door: httpx.AsyncClient, deploy: Deploy, workspace: Workspace
) -> None:
    deploy("bot", "blue", BROKEN)
    failed = await door.post("/endpoints/bot/score", json=1)
    assert failed.status_code == 424
    assert failed.headers["ms-azureml-model-error-statuscode"] == "500"
    assert failed.headers["ms-azureml-model-error-reason"] == "ValueError: no such row"
    assert [path.read_text() for path in (workspace.home / "engines" / "code").glob("*/ran.txt")] == ["x"]


async def test_a_token_that_is_wrong_is_401_and_a_gone_route_404(door: httpx.AsyncClient, deploy: Deploy) -> None:
    assert (await door.post("/score", json=1, headers={"authorization": "Bearer no"})).status_code == 401
    assert (await door.post("/score", json=1)).status_code == 404


async def test_a_request_that_takes_longer_than_its_timeout_is_408_and_a_slow_start_is_not(
    door: httpx.AsyncClient, deploy: Deploy
) -> None:
    start = "import time\n\ndef init():\n    time.sleep(2)\n\n\n"
    deploy("bot", "blue", start + SLOW, settings={"timeout": 1.0})
    assert (await door.post("/endpoints/bot/score", content="0")).json() == "0"
    late = await door.post("/endpoints/bot/score", content="3")
    assert late.status_code == 408
    assert "x-ms-request-id" in late.headers


async def test_more_than_two_that_wait_for_each_that_runs_are_429(door: httpx.AsyncClient, deploy: Deploy) -> None:
    deploy("bot", "blue", SLOW, settings={"timeout": 20.0, "concurrency": 1})
    await door.post("/endpoints/bot/score", content="0")
    answers = await asyncio.gather(*(door.post("/endpoints/bot/score", content="0.7") for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 429, 429, 429]
    assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 429)


async def test_raw_requests_pass_with_method_query_headers_and_content_and_so_do_their_answers(
    door: httpx.AsyncClient, deploy: Deploy
) -> None:
    deploy("bot", "blue", RAW)
    got = await door.get("/endpoints/bot/score?q=a%20b", headers={"x-who": "me"})
    assert (got.text, got.headers["x-own"]) == ("asked a b by me", "1")
    picture = await door.post("/endpoints/bot/score", content=b"\x89PNG\x00", headers={"content-type": "image/png"})
    assert (picture.status_code, picture.content) == (201, b"\x89PNG\x00")
    assert picture.headers["content-type"] == "image/png"
    wrong = await door.post("/endpoints/bot/score", json={})
    assert (wrong.status_code, wrong.headers["ms-azureml-model-error-statuscode"]) == (424, "415")
    assert wrong.headers["ms-azureml-model-error-reason"] == "no picture"


async def test_a_script_does_not_see_the_token(door: httpx.AsyncClient, deploy: Deploy) -> None:
    script = RAW.replace(
        '"asked " + request.args["q"] + " by " + request.headers["x-who"]', "str(dict(request.headers))"
    )
    deploy("bot", "blue", script)
    seen = (await door.get("/endpoints/bot/score", headers={"cookie": "c=1"})).text
    assert "Bearer" not in seen
    assert "c=1" not in seen


async def test_a_deployment_describes_itself(door: httpx.AsyncClient, deploy: Deploy) -> None:
    deploy("bot", "blue", ECHO % "blue")
    for path in ("/endpoints/bot/swagger.json", "/swagger.json"):
        assert "/score" in (await door.get(path)).json()["paths"]
    assert "openapi" in (await door.get("/swagger.json?version=3")).json()


async def test_copies_go_to_the_mirror_and_rows_are_kept_of_both(
    door: httpx.AsyncClient, deploy: Deploy, workspace: Workspace
) -> None:
    deploy("bot", "blue", ECHO % "blue")
    deploy("bot", "green", ECHO % "green")
    endpoints.put(workspace, "bot", traffic={"blue": 100}, mirror={"green": 50})
    answers = [(await door.post("/endpoints/bot/score", json=number)).json() for number in range(16)]
    assert {answer["way"] for answer in answers} == {"blue"}
    found: list[dict[str, Any]] = []
    for _ in range(200):
        lines = [line for path in (workspace.home / "spool").glob("*.jsonl") for line in path.open()]
        found = [each["payload"] for each in map(json.loads, lines) if each["kind"] == "request"]
        if any(row["mirror"] and row["status"] == 200 for row in found):
            break
        await asyncio.sleep(0.05)
    assert any(row["deployment"] == "bot/green" and row["mirror"] for row in found)
    assert {row["path"] for row in found} == {"/endpoints/bot/score"}


async def test_routes_of_the_other_kind_are_refused_with_the_right_one(
    door: httpx.AsyncClient, deploy: Deploy, workspace: Workspace
) -> None:
    deploy("bot", "blue", ECHO % "blue")
    chat = await door.post("/v1/chat/completions", json={"model": "bot", "messages": []})
    assert (chat.status_code, "answers POST /score" in chat.json()["error"]["message"]) == (400, True)
    endpoints.put(workspace, "chat")
    properties = {"base_url": "http://127.0.0.1:9/v1"}
    endpoints.put_deployment(workspace, "chat", "blue", engine="openai", model="m", properties=properties)
    await asyncio.sleep(1.2)
    scored = await door.post("/endpoints/chat/score", json=1)
    assert (scored.status_code, scored.json()["error"]["code"]) == (400, "no_score")


async def test_what_is_asked_and_answered_is_kept_of_the_share_that_the_deployment_says(
    door: httpx.AsyncClient, deploy: Deploy, workspace: Workspace
) -> None:
    collected = {
        "collections": ["request", "response"],
        "headers": ["x-who", "authorization"],
        "rolling_rate": "minute",
    }
    deploy("bot", "blue", ECHO % "blue", data_collector=collected)
    deploy("quiet", "blue", ECHO % "blue", data_collector={**collected, "sampling_rate": 0.0})
    asked = {"text": "hi", "password": "hunter22"}
    answered = await door.post("/endpoints/bot/score", json=asked, headers={"x-who": "me"})
    await door.post("/endpoints/quiet/score", json=asked)
    events: dict[str, Any] = {}
    for _ in range(100):
        found = (workspace.home / "modelDataCollector").rglob("*.jsonl")
        events = {path.parts[-7]: json.loads(path.read_text()) for path in found if path.read_text()}
        if len(events) == 2:
            break
        await asyncio.sleep(0.05)
    assert set(events) == {"request", "response"}
    request, response = events["request"], events["response"]
    assert request["data"] == {"text": "hi", "password": "******"}
    assert request["headers"] == {"x-who": "me", "authorization": "******"}
    assert response["data"] == {"way": "blue", "said": {"text": "hi", "password": "******"}}
    assert response["status"] == 200
    assert {event["correlationid"] for event in events.values()} == {answered.headers["x-request-id"]}
    assert not (workspace.home / "modelDataCollector" / "quiet").exists()


async def test_the_key_of_an_endpoint_opens_that_one_alone(
    door: httpx.AsyncClient, deploy: Deploy, workspace: Workspace
) -> None:
    deploy("bot", "blue", ECHO % "blue")
    deploy("other", "blue", ECHO % "other")
    key = endpoint_keys.keys(workspace, "bot")["primary"]
    headers = {"authorization": f"Bearer {key}"}
    assert (await door.post("/endpoints/bot/score", json=1, headers=headers)).status_code == 200
    assert (await door.post("/score", json=1, headers=headers)).json()["way"] == "blue"
    for path in ("score", "swagger.json"):
        ask = door.post if path == "score" else door.get
        refused = await ask(f"/endpoints/other/{path}", headers=headers)
        assert refused.status_code == 403
    unknown = await door.post("/endpoints/nobody/score", json=1, headers=headers)
    assert unknown.status_code == 403  # what else there is, it does not learn


async def test_a_key_of_idempotency_has_the_script_run_once(
    door: httpx.AsyncClient, deploy: Deploy, workspace: Workspace
) -> None:
    deploy("bot", "blue", "def run(raw):\n    open('ran.txt', 'a').write('x')\n    return raw\n")
    headers = {"idempotency-key": "k-1"}
    answers = [await door.post("/endpoints/bot/score", json=1, headers=headers) for _ in range(3)]
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, '"1"')}
    assert [path.read_text() for path in (workspace.home / "engines" / "code").glob("*/ran.txt")] == ["x"]


async def test_a_candidate_whose_script_fails_is_turned_away(
    door: httpx.AsyncClient, deploy: Deploy, workspace: Workspace
) -> None:
    deploy("bot", "blue", ECHO % "blue")
    deploy("bot", "green", THIRD)
    endpoints.put(workspace, "bot", traffic={"blue": 100})
    assert (await door.post("/score", json=1)).status_code == 200  # from here on rollouts are watched
    plan = Plan(endpoint="bot", deployment="green", steps=(50, 100), requests=1_000, guards={"errors": 0.02})
    rollout = await asyncio.to_thread(records.start, workspace, plan)
    await asyncio.sleep(1.3)
    statuses = {(await door.post("/score", json=1)).status_code for _ in range(250)}
    assert statuses == {200, 424}
    await asyncio.sleep(1.2)
    found = records.get(workspace, rollout.id)
    assert (found.state, endpoints.get(workspace, "bot").traffic) == ("ABORTED", {"blue": 100})
