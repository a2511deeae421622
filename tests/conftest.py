"""What tests of every package are given: a workspace of their own, untouched by the machine's variables."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from catalog.embedded import prepare
from serving.local import Gateway, local_gateway
from tests.rooms import Rooms, turn
from workspace.home import Workspace
from workspace.runs import RunRecord
from workspace.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling


FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

# That a machine is busy is no bug of ours.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Let workers take rooms, whatever `--dist` says."""
    return Rooms(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what drives a browser last: Playwright keeps an event loop in this thread, and asyncio tests need it."""
    items.sort(key=lambda item: (item.get_closest_marker("browser") is not None, turn(item.nodeid.split("::", 1)[0])))


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Take the machine's settings out of the environment; STUDIOLO_TEST_… are for the tests themselves."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "configuration"))
    for name in list(os.environ):
        if name == "MLFLOW_TRACKING_URI" or (name.startswith("STUDIOLO_") and not name.startswith("STUDIOLO_TEST_")):
            monkeypatch.delenv(name)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A new workspace on SQLite."""
    with Workspace.open(settings=Settings(home=tmp_path / "home")) as opened:
        yield opened


@pytest.fixture
def answering() -> Iterator[str]:
    """The address of a server that answers every chat with "Hello"."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    program = Path(__file__).parents[1] / "benchmarks" / "mock_upstream.py"
    with subprocess.Popen([sys.executable, str(program), "--port", str(port)]) as server:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.kill()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.fixture
def answered(workspace: Workspace, tmp_path: Path) -> Callable[..., RunRecord]:
    """Run a flow without a model over ten rows: `answered("mine", wrong={1}, broken={2})` says which lines go wrong."""

    def run(name: str, *, wrong: Collection[int] = (), broken: Collection[int] = ()) -> RunRecord:
        import flows

        folder, data = tmp_path / name, tmp_path / "rows.jsonl"
        rows = [{"id": f"q{number}", "question": f"Q{number}", "answer": f"A{number}"} for number in range(10)]
        data.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        folder.mkdir()
        (folder / "flow.dag.yaml").write_text(_FLOW)
        (folder / "say.py").write_text(_SAY.format(wrong=sorted(wrong), broken=sorted(broken)))
        batch = flows.Batch(data=data, column_mapping={"question": "${data.question}"}, name=name)
        for _ in flows.run(workspace, flows.load(folder), batch):
            pass
        return workspace.runs.get(name)

    return run


_FLOW = """\
inputs:
  question:
    type: string
outputs:
  answer:
    type: string
    reference: ${say.output}
nodes:
- name: say
  type: python
  source:
    type: code
    path: say.py
  inputs:
    question: ${inputs.question}
"""

_SAY = """\
from promptflow.core import tool


@tool
def say(question: str) -> str:
    number = int(question[1:])
    if number in {broken}:
        raise ValueError("cannot answer " + question)
    return "wrong" if number in {wrong} else "A" + question[1:]
"""


@pytest.fixture(scope="session")
def model_workspace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace with the embedded models, one for the whole run; tests only add to it.

    The models are converted once a machine, into STUDIOLO_TEST_CACHE or pytest's own cache.
    """
    cache = Path(os.environ.get("STUDIOLO_TEST_CACHE") or request.config.cache.mkdir("models")).absolute()
    settings = Settings(home=tmp_path_factory.mktemp("models") / "home")
    with (
        Workspace.open(settings=Settings(home=cache / _recipe())) as shelf,
        Workspace.open(settings=settings) as opened,
    ):
        for _ in prepare(shelf):
            pass
        for asset in shelf.assets.list("model"):
            opened.assets.put("model", asset.name, shelf.assets.path(asset), properties=asset.properties)
        yield opened


@pytest.fixture(scope="session")
def gateway(model_workspace: Workspace) -> Iterator[Gateway]:
    """A gateway of its own process over `model_workspace`, one for the whole run; engines start when first asked."""
    with local_gateway(model_workspace) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, driven by Playwright; not for longer than a module, as no asyncio test can run beside it."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def _recipe() -> str:
    """Name what the converted models depend on, so that a changed recipe converts again."""
    root = Path(__file__).parent.parent
    sources = [*(root / "catalog").rglob("*.md"), root / "catalog/embedded.py", root / "catalog/conversion.py"]
    sources += (root / "workspace/migrations/versions").glob("*.py")
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources))).hexdigest()[:16]
