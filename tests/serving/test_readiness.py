"""Replicas of a deployment: several at once, adopted, revived, unloaded, and swapped where memory is short."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from serving import endpoints, replicas
from serving.backends import Load
from serving.endpoints import Deployment
from serving.group import address_of
from serving.openai_errors import Refusal
from serving.readiness import Engines
from tests.serving.conftest import until
from tests.serving.engine_houses import ECHO
from workspace.errors import Invalid
from workspace.home import Workspace
from workspace.settings import Settings

SAY = "from promptflow.core import tool\n\n\n@tool\ndef say(question: str) -> str:\n    return question\n"


@pytest.fixture
def echo(workspace: Workspace, tmp_path: Path) -> Iterator[Callable[..., Deployment]]:
    """Make deployments of a flow that only repeats: the quickest engine to start."""
    (tmp_path / "echo").mkdir()
    (tmp_path / "echo" / "flow.dag.yaml").write_text(ECHO)
    (tmp_path / "echo" / "say.py").write_text(SAY)
    workspace.assets.put("flow", "echo", tmp_path / "echo")

    def make(name: str = "blue", **settings: Any) -> Deployment:
        properties: Mapping[str, Any] = {"settings": settings, "init": {"name": name}}
        return Deployment(endpoint="echo", name=name, engine="flow", model="flow:echo:1", properties=properties)

    yield make
    replicas.stop_all(workspace.home)


def pids(workspace: Workspace) -> set[int]:
    return {each.pid for each in replicas.living(workspace.home)}


async def both(engines: Engines, way: Deployment, number: int = 2) -> set[str]:
    """Return the sockets of so many replicas, once there are as many."""
    deadline = time.monotonic() + 60
    while len(found := await engines.addresses(way)) != number:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    return {each.socket for each in found}


async def test_as_many_replicas_start_as_instances_are_set(workspace: Workspace, echo: Any) -> None:
    assert len(await both(Engines(workspace), echo(instances=2))) == 2
    assert len(pids(workspace)) == 2


async def test_another_gateway_adopts_all_replicas_and_starts_none(workspace: Workspace, echo: Any) -> None:
    sockets = await both(Engines(workspace), echo(instances=2))
    before = pids(workspace)
    assert await both(Engines(workspace), echo(instances=2)) == sockets
    assert pids(workspace) == before


async def test_one_that_dies_comes_back_by_itself_while_the_other_answers(workspace: Workspace, echo: Any) -> None:
    engines, way = Engines(workspace), echo(instances=2)
    await both(engines, way)
    dead, alive = replicas.living(workspace.home)
    os.kill(dead.pid, signal.SIGKILL)
    await until(lambda: not dead.alive)
    engines.lost(way, address_of(dead))
    [left] = await engines.addresses(way)
    assert left.socket == alive.socket
    await until(lambda: len(pids(workspace) - {dead.pid}) == 2)
    await both(engines, way)


async def test_a_queue_brings_another_replica(workspace: Workspace, echo: Any) -> None:
    load = Load(active=0, waiting=0)
    engines, way = Engines(workspace, load=lambda _: load), echo(least=1, most=2, concurrency=1)
    assert len(await engines.addresses(way)) == 1
    load = Load(active=1, waiting=3)
    await both(engines, way)


async def test_one_that_nobody_asks_is_unloaded_and_a_request_brings_it_back(workspace: Workspace, echo: Any) -> None:
    engines, way = Engines(workspace), echo(ttl=0.5)
    await engines.addresses(way)
    before = pids(workspace)
    await until(lambda: not pids(workspace))
    await engines.addresses(way)
    assert pids(workspace)
    assert pids(workspace) != before


async def test_with_room_for_one_two_take_turns_and_the_one_at_work_stays(workspace: Workspace, echo: Any) -> None:
    small = Workspace(Settings(home=workspace.home, engine_memory=400), workspace.database)
    loads = {"echo/blue": Load(active=0, waiting=0)}
    engines = Engines(small, load=lambda way: loads.get(way.path, Load(0, 0)), patience=20.0)
    blue, green = echo("blue"), echo("green")
    await engines.addresses(blue)
    first = pids(workspace)
    loads["echo/blue"] = Load(active=1, waiting=0)
    waits = asyncio.create_task(engines.addresses(green))
    await asyncio.sleep(2)
    assert not waits.done()
    assert pids(workspace) == first
    assert "waiting" in engines.states.values()
    loads["echo/blue"] = Load(active=0, waiting=0)
    await waits
    assert len(pids(workspace)) == 1
    assert pids(workspace) != first
    await engines.addresses(blue)
    assert len(pids(workspace)) == 1


async def test_an_engine_larger_than_the_memory_is_refused_before_it_starts(workspace: Workspace, echo: Any) -> None:
    engines = Engines(Workspace(Settings(home=workspace.home, engine_memory=10), workspace.database))
    with pytest.raises(Refusal, match="allows") as caught:
        await engines.addresses(echo())
    assert caught.value.headers["retry-after"]
    assert not pids(workspace)


async def test_the_key_of_a_remote_server_is_that_of_its_connection(workspace: Workspace) -> None:
    from flows import connection_store
    from flows.connections import Connection

    configs = {"base_url": "https://models.test/v1"}
    connection_store.create(
        workspace, Connection(name="far", type="open_ai", configs=configs, secrets={"api_key": "sk-1"})
    )
    endpoints.put(workspace, "far")
    way = endpoints.put_deployment(
        workspace, "far", "blue", engine="openai", model="m", properties={"connection": "far"}
    )
    [address] = await Engines(workspace).addresses(way)
    assert (address.host, address.port, address.secure, address.key) == ("models.test", 443, True, "sk-1")
    assert "sk-1" not in repr(address)


def test_a_key_in_clear_is_refused(workspace: Workspace) -> None:
    endpoints.put(workspace, "far")
    properties = {"base_url": "https://models.test/v1", "api_key": "sk-1"}
    with pytest.raises(Invalid, match="keeps no secrets") as caught:
        endpoints.put_deployment(workspace, "far", "blue", engine="openai", model="m", properties=properties)
    assert "connection" in str(caught.value.hint)
