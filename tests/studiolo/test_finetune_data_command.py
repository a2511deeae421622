"""`studiolo finetune data`, and the whole loop: what an endpoint answered becomes its next candidate."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving import endpoints
from serving.kept_traffic import Keeper
from tests.finetune.tiny_models import tiny_chat
from tests.studiolo.command_line import typed
from workspace import Settings, Workspace

COLLECTED = {"collections": ["request", "response"], "sampling_rate": 1.0}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace with a chat model of some kilobytes, called tiny."""
    folder = tmp_path_factory.mktemp("studio")
    with Workspace.open(settings=Settings(home=folder / "home")) as opened:
        opened.assets.put("model", "tiny", tiny_chat(folder / "tiny"), properties={"task": "chat"})
        yield opened


@pytest.fixture
def home(studio: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("STUDIOLO_HOME", str(studio.home))
    return studio


def talk(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.mark.usefixtures("home")
def test_data_is_shown_as_the_model_reads_it_with_what_is_wrong(tmp_path: Path) -> None:
    rows = [talk("Is the soup good?", "Very good."), talk("Is the soup good?", "Very good."), talk("Car?", " ")]
    file, page, clean = written(tmp_path / "rows.jsonl", *rows), tmp_path / "page.html", tmp_path / "clean.jsonl"
    words = ("finetune", "data", str(file), "--model", "tiny", "--html", str(page), "--write", str(clean))
    said = typed(*words, code=1)
    assert "2 rows read as chat, 2 texts for the model" in said.stdout
    assert "duplicates: 1 exact" in said.stdout
    assert f"{file}:3: turn 2: the assistant's answer is empty" in said.stdout
    assert "<|im_start|>assistant\nVery good.<|im_end|>" in said.stdout
    assert "1 rows cannot be trained on" in said.stderr
    assert '<mark class="">Very good.&lt;|im_end|&gt;</mark>' in page.read_text()
    assert clean.read_text() == f"{json.dumps(rows[0])}\n"
    found = json.loads(typed("finetune", "data", str(clean), "--model", "tiny", "-o", "json").stdout)
    learnt = "".join(piece["text"] for piece in found["shown"][0]["pieces"] if piece["learnt"])
    assert (found["model"], found["problems"], learnt) == ("model:tiny:1", [], "Very good.<|im_end|>")


@pytest.mark.usefixtures("home")
def test_columns_and_options_that_are_wrong_are_told(tmp_path: Path) -> None:
    file = written(tmp_path / "rows.jsonl", {"q": "Red?", "a": "Blue."})
    words = ("finetune", "data", str(file), "--model", "tiny")
    assert "--columns prompt=QUESTION" in typed(*words, code=1).stderr
    named = typed(*words, "--columns", "prompt=q", "--columns", "response=a").stdout
    assert "1 rows read as instruction" in named
    assert "no model" in typed("finetune", "data", str(file), "--model", "nobody", code=1).stderr


@pytest.mark.slow
def test_what_an_endpoint_answered_becomes_its_next_candidate(home: Workspace, tmp_path: Path) -> None:
    """Labels, data, training, deployment and rollout by one command; lineage joins them from end to end."""
    endpoints.put(home, "bot")
    properties = {"data_collector": COLLECTED}
    endpoints.put_deployment(home, "bot", "blue", engine="torch", model="model:tiny:1", properties=properties)
    endpoints.put(home, "bot", traffic={"blue": 100})
    with Keeper.of(str(home.home), "bot", "blue", COLLECTED) as keeper:
        for number in range(6):
            asked = {"messages": [{"role": "user", "content": f"number {number}?"}]}
            answer = {"choices": [{"message": {"role": "assistant", "content": "the car"}, "finish_reason": "stop"}]}
            keeper.keep("request", json.dumps(asked).encode(), correlation=f"r{number}")
            keeper.keep("response", json.dumps(answer).encode(), correlation=f"r{number}", more={"status": 200})
    labels = written(tmp_path / "labels.jsonl", *({"id": f"r{number}", "correction": "red"} for number in range(6)))
    said = typed(
        "finetune", "from-traces", "bot", "--labels", str(labels), "--tune", "tiny", "--canary", "bot",
        "--set", "steps=2", "--set", "max_length=64", "--set", "output=better", "--set", "resources.properties.cpus=1",
    )  # fmt: skip
    assert re.search(r"bot/better-1 gets 1 % of 'bot'", said.stdout)
    assert endpoints.get(home, "bot").traffic == {"blue": 99, "better-1": 1}
    deployment = endpoints.deployment(home, "bot", "better-1")
    assert deployment.model == "model:better:1"
    above = {edge.source for edge in home.lineage.upstream(home.assets.get("model", "better"))}
    assert {"deployment:bot:blue", "data:bot-chats:1", "model:tiny:1"} <= above
    assert "deployment:bot:blue" in typed("lineage", "model:better:1").stdout
