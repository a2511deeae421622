"""Take the pictures under docs/screens anew: `python docs/take_screens.py`, or `make screens`.

A studio of its own is started in a folder of its own, the demo is run, an endpoint is rolled out, files are scored and
a question is asked; then Chromium looks at it. With `--home FOLDER` all of that stays there and is used again the next
time. `--every FOLDER` saves each page there besides, light and dark, 1280 and 390 pixels wide.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from workspace.home import Workspace
from workspace.settings import Settings

SCREENS = Path(__file__).parent / "screens"
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars")
SERVICES = ("gateway", "control", "studio", "mlflow")
MODEL = "smollm2-135m-instruct"
ASKED = 90  # requests that the rollout is judged by
QUESTION = "Name three rivers of Europe."
LONG = ("endpoint", "batch-job")  # pages of which the guides show all

DEPLOYMENT = "name: {name}\nendpoint_name: support\nmodel: azureml:smollm2-135m-instruct@latest\n"
ROLLOUT = """\
endpoint: support
deployment: green
steps: [10, 50, 100]
bake: 1h
guards: {errors: 0.02, first_token: 0.1, speed: 0.1, invalid: 0.03}
"""
BATCH = """\
name: count
endpoint_name: letters
model: {path: model, name: letters}
code_configuration: {code: code, scoring_script: score.py}
compute: local
settings: {mini_batch_size: 1, max_concurrency_per_instance: 2, retry_settings: {max_retries: 1, timeout: 30}}
"""
SCORE = """\
import pathlib
import time


def run(mini_batch):
    rows = []
    for path in map(pathlib.Path, mini_batch):
        text = path.read_text()
        if not text.strip():
            raise ValueError(path.name + " says nothing")
        if "patience" in text:
            time.sleep(6)
        rows.append((path.name, len(text), len(text.split())))
    return rows
"""
LETTERS = (
    "Dear all, the harbour opens at six.",
    "The lamp was out.",
    "",
    "Send more rope, and two anchors.",
    "Thanks.",
)


@dataclass(frozen=True, slots=True)
class Studio:
    """A studio that is running: its folder, its variables, its address and its token."""

    folder: Path
    environment: dict[str, str]
    url: str
    gateway: str
    token: str

    def say(self, *words: str) -> str:
        """Run a command of ours in the folder and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "studiolo", *words], cwd=self.folder, env=self.environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"studiolo {' '.join(words)}:\n{done.stdout}{done.stderr}")
        return done.stdout


@contextmanager
def running(folder: Path) -> Iterator[Studio]:
    """Start a studio over a folder, on ports that are free, and stop it in the end."""
    ports = {f"STUDIOLO_{name.upper()}_PORT": str(_free_port()) for name in SERVICES}
    home = folder / ".studiolo"
    environment = os.environ | ports | {"STUDIOLO_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "120"}
    urls = {name: f"http://127.0.0.1:{ports[f'STUDIOLO_{name.upper()}_PORT']}" for name in SERVICES}
    with Workspace.open(settings=Settings(home=home)) as workspace:
        token = workspace.tokens.local()
    studio = Studio(folder, environment, urls["studio"], urls["gateway"], token)
    studio.say("up", "--detach")
    try:
        yield studio
    finally:
        studio.say("down")


def prepare(studio: Studio) -> str:
    """Let things happen, so that there is something to see, and return the job that goes on for some minutes."""
    names = {run["name"] for run in json.loads(studio.say("runs", "list", "--json", "--limit", "100"))}
    if "demo-plain" not in names:
        studio.say("demo")
    if "support" not in studio.say("endpoint", "list"):
        _roll_out(studio)
    if "letters" not in studio.say("batch-endpoint", "list"):
        _deploy_batch(studio)
    _invoke(studio, "patience", [f"letter {number}: patience" for number in range(80)])
    return _job(studio, "Running", "Starting", "Queued")


def _roll_out(studio: Studio) -> None:
    studio.say("endpoint", "create", "-n", "support")
    for name in ("blue", "green"):
        _write(studio.folder / f"{name}.yml", DEPLOYMENT.format(name=name))
        studio.say("deployment", "create", "-f", f"{name}.yml")
    studio.say("endpoint", "update", "-n", "support", "--traffic", "blue=100")
    _write(studio.folder / "rollout.yml", ROLLOUT)
    studio.say("rollout", "start", "-f", "rollout.yml")
    body = {"model": "support", "max_tokens": 8, "messages": [{"role": "user", "content": "Say hello."}]}
    for number in range(ASKED):
        answer = httpx.post(
            f"{studio.gateway}/v1/chat/completions", json=body | {"user": f"user-{number}"}, timeout=300,
            headers={"Authorization": f"Bearer {studio.token}"},
        )  # fmt: skip
        answer.raise_for_status()


def _deploy_batch(studio: Studio) -> None:
    _write(studio.folder / "code" / "score.py", SCORE)
    _write(studio.folder / "model" / "weights.txt", "1")
    _write(studio.folder / "count.yml", BATCH)
    studio.say("batch-endpoint", "create", "-n", "letters")
    studio.say("batch-deployment", "create", "-f", "count.yml", "--set-default")
    _invoke(studio, "april", [text for text in LETTERS for _ in range(3)], "--stream")


def _invoke(studio: Studio, name: str, texts: list[str], *more: str) -> None:
    for number, text in enumerate(texts):
        _write(studio.folder / name / f"{number:03d}.txt", text)
    arguments = ["-n", "letters", "--input", name, *more]
    words = [sys.executable, "-m", "studiolo", "batch-endpoint", "invoke", *arguments]
    # Files that fail are told by the exit code: some of these shall.
    subprocess.run(words, cwd=studio.folder, env=studio.environment, capture_output=True, check=False)


def take(studio: Studio, browser: Browser, screens: Path) -> dict[str, str]:
    """Save the pictures of the guides, and return where each page was in the state that they show."""
    with _opened(studio, browser, "light") as page:
        places = {"home": "/", "playground": _asked(page, studio.url), "flow": _tried(page, studio.url)}
    places |= {"lineage": "/lineage?node=report:demo:1", "endpoint": "/endpoints?endpoint=support"}
    places |= {
        "batch": "/batch?endpoint=letters",
        "batch-job": f"/batch?endpoint=letters&job={_job(studio, 'Completed')}",
    }
    wanted = ("playground-light", "playground-dark", "home-dark", "flow-light", "lineage-light", "endpoint-light",
              "batch-light", "batch-job-dark")  # fmt: skip
    for picture in wanted:
        name, _, scheme = picture.rpartition("-")
        with _opened(studio, browser, scheme) as page:
            _shoot(page, studio.url + places[name], screens / f"{picture}.png", whole=name in LONG)
    return places


def take_every(studio: Studio, browser: Browser, folder: Path, places: dict[str, str]) -> None:
    """Save every page, light and dark, wide and as a telephone shows it."""
    goes_on = _job(studio, "Running")
    places = places | {
        "endpoints": "/endpoints", "batches": "/batch", "flows": "/flows", "runs": "/runs", "login": "/login",
        "batch-running": f"/batch?endpoint=letters&job={goes_on}", "run": "/runs?run=demo-plain",
        "batch-form": "/batch?endpoint=letters&from=Data or a path",
        "nothing": "/batch?endpoint=nothing",
    }  # fmt: skip
    for scheme in ("light", "dark"):
        for width in (1280, 390):
            with _opened(studio, browser, scheme, width=width) as page:
                for name, place in places.items():
                    _shoot(page, studio.url + place, folder / f"{name}-{scheme}-{width}.png", whole=True)
                _shoot_stop(page, studio.url, folder / f"stop-{scheme}-{width}.png")


def _asked(page: Page, url: str) -> str:
    page.goto(f"{url}/playground?model={MODEL}&max_tokens=60&temperature=0.0&seed=7")
    _ask(page, QUESTION)
    page.get_by_text(re.compile(r"\d m?s in all")).first.wait_for()
    return page.url.removeprefix(url)


def _tried(page: Page, url: str) -> str:
    page.goto(f"{url}/flows?flow=demo")
    page.get_by_role("button", name="Run once").click()
    page.wait_for_url("**trial=**")
    return page.url.removeprefix(url)


def _ask(page: Page, question: str) -> None:
    page.get_by_test_id("stChatInputTextArea").fill(question)
    page.keyboard.press("Enter")


def _shoot_stop(page: Page, url: str, path: Path) -> None:
    page.goto(f"{url}/playground?model={MODEL}&max_tokens=1500&temperature=0.0")
    _ask(page, "Write a long story about a lighthouse.")
    page.get_by_test_id("stChatMessage").filter(has_text="light").nth(1).wait_for()
    page.get_by_role("button", name="Stop").wait_for()
    page.screenshot(path=path)
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Regenerate").or_(page.get_by_role("button", name="Answer")).first.wait_for()


def _shoot(page: Page, address: str, path: Path, *, whole: bool = False) -> None:
    page.goto(address)
    page.locator("h1, [data-testid=stAlert]").first.wait_for()
    page.wait_for_timeout(1500)
    page.locator("[data-testid=stStatusWidget]").wait_for(state="detached")
    if whole:  # Streamlit scrolls within the page: the window is made as high as what is in it
        height = page.evaluate("document.querySelector('[data-testid=stMain]')?.scrollHeight ?? 860")
        page.set_viewport_size({"width": page.viewport_size["width"], "height": min(4000, max(860, height))})
        page.wait_for_timeout(500)
    page.screenshot(path=path)
    if whole:
        page.set_viewport_size({"width": page.viewport_size["width"], "height": 860})


@contextmanager
def _opened(studio: Studio, browser: Browser, scheme: str, *, width: int = 1280) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": width, "height": 860}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(180_000)
    page.goto(f"{studio.url}/login?token={studio.token}")
    try:
        yield page
    finally:
        context.close()


def _job(studio: Studio, *statuses: str) -> str:
    jobs: list[dict[str, Any]] = json.loads(studio.say("batch-endpoint", "list-jobs", "-n", "letters", "--json"))
    return next(str(job["name"]) for job in jobs if job["status"] in statuses)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, help="a folder to keep what was prepared, and to use it again")
    parser.add_argument("--every", type=Path, help="a folder that gets every page, light and dark, wide and narrow")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.home or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        with running(folder) as studio, sync_playwright() as driver:
            going_on = prepare(studio)
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            places = take(studio, browser, SCREENS)
            if given.every:
                given.every.mkdir(parents=True, exist_ok=True)
                take_every(studio, browser, given.every, places)
            browser.close()
            studio.say("job", "cancel", going_on)


if __name__ == "__main__":
    main()
