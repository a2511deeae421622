"""A gateway that watches a rollout: it takes back what is worse, lets pass what is not, waits for what is missing."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from serving import endpoints
from serving.rollouts import records
from serving.rollouts.records import Plan, Quality, Rollout
from tests.serving.conftest import answer, scripted, until

if TYPE_CHECKING:
    from tests.serving.conftest import House, Wire

PLAN = Plan(endpoint="mock", deployment="green", steps=(30, 100), bake=0.0, requests=20, guards={"errors": 0.02})


async def fails(wire: Wire) -> None:
    """Answer, or fail half of the time."""
    if random.random() < 0.5:  # noqa: S311  a fault
        await wire.json({"error": {"message": "no"}}, status=500)
    else:
        await answer(wire)


async def begun(house: House, plan: Plan, port: int) -> Rollout:
    house.deploy("green", port)
    house.door.house.watch.begin()
    rollout = await asyncio.to_thread(records.start, house.workspace, plan)
    await asyncio.sleep(1.3)  # the gateway knows of it, and of the new traffic
    return rollout


async def ended(house: House, rollout: Rollout, *, seconds: float = 20.0, most: int = 10_000) -> tuple[Rollout, int]:
    """Ask until the rollout ends, or long enough; return it, and how many requests that were."""
    deadline, asked, found = time.monotonic() + seconds, 0, rollout
    while found.state not in records.ENDED and time.monotonic() < deadline and asked < most:
        await house.ask()
        asked += 1
        if asked % 10 == 0:
            await asyncio.sleep(0.02)
            found = await asyncio.to_thread(records.get, house.workspace, rollout.id)
    return await asyncio.to_thread(records.get, house.workspace, rollout.id), asked


async def test_a_candidate_that_fails_loses_its_traffic(house: House) -> None:
    async with scripted(fails) as bad:
        # So many requests a step that chance cannot end one before the guard has proved anything.
        rollout = await begun(house, replace(PLAN, requests=1_000), bad.port)
        found, _ = await ended(house, rollout)
        assert found.state == "ABORTED"
        assert found.reason
        assert "errors: failed requests" in found.reason
        assert endpoints.get(house.workspace, "mock").traffic == {"blue": 100}
        assert found.evidence["told"]["errors"]["candidate"]["count"] <= 250


async def test_a_sound_candidate_takes_over_and_leaves_a_run(house: House) -> None:
    rollout = await begun(house, PLAN, house.upstream.port)
    found, _ = await ended(house, rollout)
    assert (found.state, found.percent) == ("COMPLETED", 100)
    # The run is written once the rollout has ended.
    run = await until(lambda: next((run for run in house.workspace.runs.list(kind="rollout") if run.ended), None))
    assert run.name == f"rollout-{rollout.id}"
    assert run.tags["state"] == "COMPLETED"
    upstream = house.workspace.lineage.upstream("deployment:mock:green")
    assert f"run:{run.run_id}" in {edge.source for edge in upstream}


async def test_without_scores_a_rollout_that_needs_them_neither_ends_nor_goes_on(house: House) -> None:
    quality = Quality(scorer="exact", sample=1.0, scores=5)
    plan = replace(PLAN, guards={"quality": 0.05}, quality=quality)
    rollout = await begun(house, plan, house.upstream.port)
    found, _ = await ended(house, rollout, seconds=3.0)
    assert (found.state, found.step) == ("RUNNING", 0)
    folder = house.workspace.home / "rollouts" / rollout.id
    while not (folder / "samples.jsonl").exists():
        await asyncio.sleep(0.05)
    row = json.loads((folder / "samples.jsonl").read_text().splitlines()[0])
    assert row["answer"] == "Hello"
    assert row["request"]["messages"][0]["content"] == "Hello"


async def test_bad_scores_of_sampled_answers_take_the_traffic_back(house: House) -> None:
    plan = replace(PLAN, guards={"quality": 0.05}, quality=Quality(scorer="exact", sample=1.0))
    rollout = await begun(house, plan, house.upstream.port)
    folder = house.workspace.home / "rollouts" / rollout.id
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"request_id": str(n), "candidate": n % 2 == 0, "value": float(n % 2)} for n in range(60)]
    (folder / "scores.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    found, _ = await ended(house, rollout)
    assert found.state == "ABORTED"
    assert str(found.reason).startswith("quality: 1 - mean score 100.0% in 30 requests, 0.0% in 30")


async def test_a_gateway_that_comes_back_goes_on_with_what_was_known(house: House) -> None:
    rollout = await begun(house, replace(PLAN, requests=1_000), house.upstream.port)
    await ended(house, rollout, most=60)
    await asyncio.to_thread(house.door.house.watch.close)
    known = records.get(house.workspace, rollout.id).evidence["told"]["errors"]
    assert known["candidate"]["count"] + known["baseline"]["count"] == 60


async def test_traffic_changed_by_hand_pauses_the_rollout(house: House) -> None:
    rollout = await begun(house, replace(PLAN, requests=1_000), house.upstream.port)
    await house.changed(traffic={"blue": 50, "green": 50})
    await until(lambda: records.get(house.workspace, rollout.id).state == "PAUSED")
    assert records.get(house.workspace, rollout.id).reason == "somebody changed the traffic"
    assert endpoints.get(house.workspace, "mock").traffic == {"blue": 50, "green": 50}


async def test_requests_that_are_the_clients_own_fault_say_nothing(house: House) -> None:
    async def refuse(wire: Wire) -> None:
        await wire.json({"error": {"message": "no", "param": "x"}}, status=400)

    house.upstream.script = refuse
    rollout = await begun(house, replace(PLAN, requests=1_000), house.upstream.port)
    found, _ = await ended(house, rollout, seconds=3.0)
    assert found.state == "RUNNING"
    assert found.evidence.get("told", {}).get("errors", {}).get("candidate", {}).get("count", 0) == 0
