"""`studiolo catalog sync` from a shell: the variables of the Hub, and kills in the middle."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from catalog.hub_server.folder import commit_of, facts_of, moment
from catalog.hub_server.shelf import Repositories, Repository
from catalog.index.publish import newest
from tests.hub import Fault, LocalHub, local_hub

COMMAND = (sys.executable, "-m", "studiolo", "catalog", "sync")
MODELS = 4000


def _model(number: int) -> Repository:
    created = moment(1.6e9 + 3600 * number)
    told = facts_of(f"lab/m{number}", 1.6e9 + 3600 * number) | {"lastModified": created}
    return Repository(id=f"lab/m{number}", facts=told, commits=(commit_of({}, created),))


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    with local_hub(Repositories(_model(number) for number in range(MODELS))) as running:
        yield running


def _variables(home: Path, hub: LocalHub, **more: str) -> dict[str, str]:
    return {**os.environ, "STUDIOLO_HOME": str(home), "HF_ENDPOINT": hub.address, "HF_HOME": str(home / "hf"), **more}


def _ids(home: Path) -> list[str]:
    path = newest(home / "catalog")
    if path is None:
        return []
    with duckdb.connect(str(path), read_only=True) as file:
        return [row[0] for row in file.execute("SELECT id FROM texts").fetchall()]


def test_a_sync_asks_where_the_variables_say_with_their_token(hub: LocalHub, tmp_path: Path) -> None:
    hub.authorised.clear()
    variables = _variables(tmp_path, hub, HF_TOKEN="hf_alice")
    done = subprocess.run([*COMMAND, "--author", "lab", "--json"], env=variables, capture_output=True, check=True)
    assert json.loads(done.stdout)[0]["changes"]["added"] == MODELS
    assert all(authorised for _, authorised in hub.authorised)
    offline = _variables(tmp_path, hub, HF_HUB_OFFLINE="1")
    said = subprocess.run([*COMMAND, "--all"], env=offline, capture_output=True, check=False, text=True)
    assert said.returncode == 1
    assert "HF_HUB_OFFLINE is set" in said.stderr
    again = subprocess.run(COMMAND, env=variables, capture_output=True, check=True, text=True)
    assert "what has changed" in again.stderr


def _killed(hub: LocalHub, home: Path, kills: int, seed: int) -> tuple[int, int]:
    """Kill a sync again and again, at moments that a seed decides, then let it end.

    Return how often it was killed, and how often a later one went on with the page after.
    """
    moments = random.Random(seed)  # noqa: S311
    killed = resumed = 0
    # every page takes a moment, so that there is a middle
    hub.faults = [Fault("/api/models", "slow", times=10**6, seconds=0.05)]
    for _ in range(kills):
        with subprocess.Popen([*COMMAND, "--all"], env=_variables(home, hub), stderr=subprocess.DEVNULL) as process:
            asked = len(hub.asked)
            while process.poll() is None and len(hub.asked) < asked + 1:
                time.sleep(0.005)
            resumed += "cursor=" in "".join(hub.asked[asked : asked + 1])
            time.sleep(moments.random() * 0.3)
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        assert len(_ids(home)) in (0, MODELS)
    hub.faults = []
    subprocess.run([*COMMAND, "--all"], env=_variables(home, hub), check=True, capture_output=True)
    return killed, resumed


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_a_killed_sync_loses_and_doubles_nothing(hub: LocalHub, tmp_path: Path, kills: int) -> None:
    hub.asked.clear()
    killed, resumed = _killed(hub, tmp_path, kills, seed=kills)
    assert killed
    assert resumed >= kills // 10
    found = _ids(tmp_path)
    assert len(found) == len(set(found)) == MODELS
