"""Datasets of a Hub over real HTTP: our own Hub server, told that what it has are datasets."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from catalog.hub_server.app import Doors, HubServer
from catalog.hub_server.folder import commit_of, files_of, moment, repository
from catalog.hub_server.limits import GENEROUS, RateLimits
from catalog.hub_server.shelf import Repositories
from evals.tasks.rows import load
from evals.tasks.task import Task
from jobs.data import hub_files
from jobs.data.hub_files import Hub, fetch
from workspace import Workspace
from workspace.errors import Denied, Invalid, NotFound, Unavailable
from workspace.settings import Settings

SUMS = "hf://datasets/lab/sums"


@dataclass
class Running:
    """A Hub that runs: its address, the commits of lab/sums by their revisions, and what it was asked."""

    address: str = ""
    commits: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("hub")
    for name, answer in (("first", "1"), ("second", "2")):
        (root / name / "main").mkdir(parents=True)
        (root / name / "main" / "test.jsonl").write_text(f'{{"q": "1+1", "expected": "{answer}"}}\n')
    sums = repository("lab/sums", root / "second", created=1.7e9)
    older = commit_of(files_of(root / "first"), moment(1.6e9), "First")
    sums = replace(sums, commits=(*sums.commits, older), refs={"v1": older.sha, "refs/tags/v1": older.sha})
    alice = frozenset({"alice"})
    others = [
        repository("lab/private", root / "first", created=1.6e9, private=True, readers=alice),
        repository("lab/gated", root / "first", created=1.6e9, gated="manual", readers=alice),
    ]
    found = Running(commits={"main": sums.commits[0].sha, "v1": older.sha})
    doors = Doors(who={"hf_alice": "alice", "hf_bob": "bob"}.get)
    hub = HubServer(Repositories([sums, *others]), doors, RateLimits(GENEROUS))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            found.asked.append(scope["path"])
            path = scope["path"].replace("/api/datasets/", "/api/models/").removeprefix("/datasets")
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await hub(scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    found.address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield found
    server.should_exit = True
    thread.join(10)


def asks(running: Running, cache: Path, **more: Any) -> Hub:
    given: dict[str, Any] = {"endpoint": running.address, "cache": cache}
    return Hub(**(given | more))


def test_a_file_comes_of_the_newest_commit_or_of_the_revision_that_is_named(running: Running, tmp_path: Path) -> None:
    hub = asks(running, tmp_path)
    for revision, answer in (("", "2"), ("@v1", "1"), (f"@{running.commits['v1']}", "1")):
        path = fetch(Settings(), f"{SUMS}{revision}/main/test.jsonl", hub=hub)
        assert f'"expected": "{answer}"' in path.read_text()
    assert running.commits["v1"] in path.parts


def test_offline_and_where_the_hub_is_gone_the_cache_has_to_do(running: Running, tmp_path: Path) -> None:
    url = f"{SUMS}@v1/main/test.jsonl"
    fetch(Settings(), url, hub=asks(running, tmp_path))
    running.asked.clear()
    for hub, settings in (
        (asks(running, tmp_path, offline=True), Settings()),
        (asks(running, tmp_path), Settings(offline=1)),
        (asks(running, tmp_path, endpoint="http://127.0.0.1:9"), Settings()),
    ):
        assert fetch(settings, url, hub=hub).read_text()
    assert running.asked == []
    with pytest.raises(Unavailable, match="not in the Hub's cache") as caught:
        fetch(Settings(), f"{SUMS}/main/test.jsonl", hub=asks(running, tmp_path / "empty", offline=True))
    assert "HF_HUB_OFFLINE" in str(caught.value.hint)


@pytest.mark.slow  # the Hub's client asks five times more, for 23 seconds
def test_a_hub_that_nobody_reaches_is_told(running: Running, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9 cannot be reached: .*refused"):
        fetch(Settings(), f"{SUMS}/main/test.jsonl", hub=asks(running, tmp_path, endpoint="http://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("url", "error", "told"),
    [
        (f"{SUMS}/main/tset.jsonl", NotFound, "did you mean 'main/test.jsonl'?"),
        (f"{SUMS}@v9/main/test.jsonl", NotFound, "a branch, a tag or a commit"),
        ("hf://datasets/lab/smus/main/test.jsonl", NotFound, "check the name"),
        ("hf://datasets/lab/private/main/test.jsonl", NotFound, "HF_TOKEN"),
        ("hf://datasets/lab/gated/main/test.jsonl", Denied, "accept its terms"),
        (SUMS, Invalid, hub_files.LIKE),
        (f"{SUMS}/../x.jsonl", Invalid, hub_files.LIKE),
    ],
)
def test_what_cannot_be_had_is_told_with_what_to_try(
    running: Running, tmp_path: Path, url: str, error: type[NotFound], told: str
) -> None:
    with pytest.raises(error) as caught:
        fetch(Settings(), url, hub=asks(running, tmp_path))
    assert told in str(caught.value.hint)


def test_a_token_opens_what_its_holder_may_read(running: Running, tmp_path: Path) -> None:
    url = "hf://datasets/lab/{}/main/test.jsonl"
    for name in ("private", "gated"):
        assert fetch(Settings(), url.format(name), hub=asks(running, tmp_path, token="hf_alice")).is_file()
    with pytest.raises(Denied, match="gated"):
        fetch(Settings(), url.format("gated"), hub=asks(running, tmp_path / "bob", token="hf_bob"))


def test_a_task_reads_it_by_the_variables_of_the_hub_and_keeps_which_commit_it_was(
    running: Running, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("hf_alice")
    (tmp_path / "task.yaml").write_text(
        "data: hf://datasets/lab/private/main/test.jsonl\nscorers: [exact]\ntarget: {function: echo.py:echo}\n"
    )
    (tmp_path / "echo.py").write_text("def echo(q):\n    return '1'\n")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")} | {
        "STUDIOLO_HOME": str(tmp_path / "home"), "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": running.address,
        "HF_TOKEN_PATH": str(tmp_path / "token"),
    }  # fmt: skip
    for offline in ("0", "1"):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("studiolo")), "eval", "run", str(tmp_path / "task.yaml")],
            env=environment | {"HF_HUB_OFFLINE": offline}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "exact 1.000" in done.stdout, done.stdout + done.stderr
    with Workspace.open(tmp_path / "home") as workspace:
        asset = workspace.assets.get("data", "test")
        assert asset.version == "1"
        assert asset.properties["source"] == "hf://datasets/lab/private/main/test.jsonl"
        assert len(asset.properties["commit"]) == 40
        assert workspace.assets.path(asset).is_file()


def test_a_map_of_data_says_where_it_is_on_this_machine(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "here.jsonl").write_text('{"q": "a"}\n')
    (tmp_path / "data_map.yml").write_text(f"{SUMS}/main/test.jsonl: ./here.jsonl\n")
    task = Task(name="t", data=f"{SUMS}/main/test.jsonl", folder=tmp_path, scorers=("exact",))
    assert load(workspace, task).rows[0].inputs == {"q": "a"}
