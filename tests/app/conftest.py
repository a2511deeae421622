"""A studio in a process of its own, over real services, and a browser to look at it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import flows
from jobs import submit
from serving import endpoints
from serving.batch import deploying, deployment_files, invoking
from serving.batch.endpoint_files import BatchEndpointFile
from serving.batch.inputs import Given
from serving.batch.invoking import Invocation
from serving.local import Gateway
from serving.rollouts import records
from serving.rollouts.guards import Guards, Seen
from serving.rollouts.records import Plan
from studiolo import flow_batches
from workspace import Settings, Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE = 60.0
EVIL = "<script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"


@dataclass(frozen=True, slots=True)
class Studio:
    """A studio that runs: its address, its workspace, and the token that opens it."""

    url: str
    workspace: Workspace

    @property
    def token(self) -> str:
        """The workspace's own token."""
        return self.workspace.tokens.local()


@pytest.fixture(scope="session")
def empty_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The studio of a workspace in which nothing has happened and nothing runs."""
    settings = Settings(home=tmp_path_factory.mktemp("project") / ".studiolo")
    with Workspace.open(settings=settings) as workspace, _served("app.server", workspace) as url:
        yield Studio(url, workspace)


@pytest.fixture(scope="session")
def studio(model_workspace: Workspace, gateway: Gateway) -> Iterator[Studio]:
    """The studio of a workspace with models, a gateway for everybody, and a history of runs."""
    assert gateway.token  # it goes last, and takes the engines with it
    _history(model_workspace)
    with _served("serving.gateway", model_workspace), _served("app.server", model_workspace) as url:
        yield Studio(url, model_workspace)


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page of a studio, logged in: `visit(studio, "/runs")`; it fails where an evil text came to life."""
    from playwright.sync_api import Error

    contexts = []

    def opened(studio: Studio, path: str = "/", *, wait: str = "h1", **options: Any) -> Page:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(f"{studio.url}/login?token={studio.token}")
        page.goto(f"{studio.url}{path}")
        page.wait_for_selector(wait)
        return page

    yield opened
    for context in contexts:
        for page in context.pages:
            try:
                assert page.evaluate("window.pwned") is None
            except Error:
                if not page.is_closed():  # the page that a download opens closes by itself
                    raise
        context.close()


@contextmanager
def _served(module: str, workspace: Workspace) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = workspace.home
    log = home / f"{module}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "--home", str(home), "--port", str(port)],
            env=os.environ | workspace.settings.environment(), stdout=output, stderr=output,
        )  # fmt: skip
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail(f"{url} does not answer:\n{log.read_text(errors='replace')}")


def _history(workspace: Workspace) -> None:
    """Make a flow run in which one line fails, a failed run, and a finished one with a report."""
    folder, data = workspace.home.parent / "echo", workspace.home.parent / "words.jsonl"
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(_FLOW)
    (folder / "say.py").write_text(_SAY)
    data.write_text("".join(f"{json.dumps({'text': text})}\n" for text in ("one", "break", EVIL)))
    batch = flows.Batch(data=data, column_mapping={"text": "${data.text}"}, name="echo words")
    for _ in flows.run(workspace, flows.load(folder), batch):
        pass
    _paused(workspace)
    _rolled_out(workspace)
    _scored(workspace)
    with (
        pytest.raises(ValueError, match="boom"),
        workspace.run("eval", name="went wrong", params={"note": EVIL}, tags={"tag": EVIL}),
    ):
        raise ValueError(f"boom {EVIL}")
    with workspace.run("eval", name="compared", inputs=[workspace.runs.get("echo words")]) as run:
        run.log_metrics({"accuracy": 0.75})
        run.log_artifact("report.html", f"<h1>The verdict</h1>{EVIL}")
        run.output(workspace.assets.put("report", "words", b"verdict"))


def _rolled_out(workspace: Workspace) -> None:
    """Make an endpoint whose rollout has just begun, and whose first candidate was turned away."""
    endpoints.put(workspace, "support", properties={"description": EVIL})
    for name in ("blue", "green"):
        properties = {"base_url": "http://127.0.0.1:9/v1"}
        endpoints.put_deployment(workspace, "support", name, engine="openai", model="m", properties=properties)
    endpoints.put(workspace, "support", traffic={"blue": 100})
    plan = Plan(endpoint="support", deployment="green")
    records.abort(workspace, records.start(workspace, plan), f"too many errors {EVIL}")
    rollout = records.start(workspace, plan, force=True)
    guards = Guards(plan.guards, alpha=plan.alpha)
    for number in range(60):
        guards.observe(Seen(candidate=number % 6 == 0, failed=False, invalid=False))
    records.keep_evidence(workspace, rollout, guards.as_dict() | {"told": guards.told(), "since": {"requests": 10}})


def _scored(workspace: Workspace) -> None:
    """Make a batch endpoint, with a job in which one of three files failed and one that was too much."""
    folder = workspace.home.parent / "letters"
    for path, text in (("code/score.py", _SCORE), ("model/weights.txt", "1"), ("count.yml", _BATCH)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    for number, text in enumerate(("one", "bad", f"three, {EVIL}")):
        (folder / "texts").mkdir(exist_ok=True)
        (folder / "texts" / f"{number}.txt").write_text(text)
    deploying.put_endpoint(workspace, BatchEndpointFile(name="letters", description=EVIL))
    deploying.put_endpoint(workspace, BatchEndpointFile(name="bare"))
    file = folder / "count.yml"
    for name, changes in (("count", {}), ("strict", {"settings.error_threshold": "0"})):
        for _ in deploying.deploy(workspace, deployment_files.read(file, name=name, changes=changes)):
            pass
        given = {"data": Given(path=str(folder / "texts"))}
        asked = Invocation(deployment=name, inputs=given, job_name=f"letters-{name}")
        submit.wait(workspace, invoking.invoke(workspace, "letters", asked).name, seconds=PATIENCE)
    deploying.put_endpoint(workspace, BatchEndpointFile(name="letters", description=EVIL, default="count"))


def _paused(workspace: Workspace) -> None:
    folder, data = workspace.home.parent / "pay", workspace.home.parent / "sums.jsonl"
    folder.mkdir()
    (folder / "flow.dag.yaml").write_text(_PAY)
    (folder / "say.py").write_text(_SAY)
    data.write_text('{"text": "a large sum"}\n')
    for _ in flow_batches.run(workspace, flow_batches.Asked(flow=str(folder), data=data, name="payments")):
        pass


_BATCH = """\
name: count
endpoint_name: letters
model: {path: model, name: letters}
code_configuration: {code: code, scoring_script: score.py}
compute: local
settings: {mini_batch_size: 1, retry_settings: {max_retries: 0}, environment_variables: {SECRET: hush}}
"""

_SCORE = """\
import pathlib
import time

def run(mini_batch):
    rows = []
    for path in map(pathlib.Path, mini_batch):
        text = path.read_text()
        if text == "bad":
            raise ValueError("no letters in " + path.name + " <img src=x onerror='window.pwned=1'>")
        if text.startswith("slow"):
            time.sleep(0.5)
        rows.append((path.name, len(text)))
    return rows
"""

_PAY = """\
inputs:
  text: {type: string}
outputs:
  said: {type: string, reference: "${say.output}"}
nodes:
- {name: agree, type: approval, inputs: {question: Pay this?, sum: "${inputs.text}"}}
- {name: say, type: python, source: {type: code, path: say.py}, inputs: {text: "${agree.output.comment}"}}
"""

_FLOW = """\
inputs:
  text:
    type: string
    default: hello
outputs:
  said:
    type: string
    reference: ${say.output}
nodes:
- name: say
  type: python
  source:
    type: code
    path: say.py
  inputs:
    text: ${inputs.text}
"""

_SAY = """\
from promptflow.core import tool


@tool
def say(text: str) -> str:
    if text == "break":
        raise ValueError("cannot say " + text)
    return "you said " + text
"""
