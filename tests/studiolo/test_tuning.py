"""A training as a job: killed and gone on with, kept with its lineage, refused where it must not begin, planned."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from finetune.language.given import events
from finetune.language.spec import TuneJob
from jobs import records, submit
from jobs.create import create
from jobs.files import job_of, read_job
from jobs.folders import job_folder
from studiolo.tuning import azure, files, listing, plan
from studiolo.tuning.resuming import again
from tests.finetune.tiny_models import tiny_chat
from tests.jobs.conftest import until
from workspace.errors import Conflict, Invalid
from workspace.home import Workspace
from workspace.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace with a base model of some kilobytes."""
    folder = tmp_path_factory.mktemp("tuning")
    tiny_chat(folder / "tiny")
    rows = [chat(f"a {'very ' * (number % 5)}red car", "good film") for number in range(24)]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with Workspace.open(settings=Settings(home=folder / "home")) as opened:
        opened.assets.put("model", "tiny", folder / "tiny", properties={"base_model": "studiolo/tiny"})
        yield opened


def chat(asked: str, said: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}


def training(home: Workspace, **asked: Any) -> Any:
    written = {"type": "tuning", "base": "tiny", "data": "rows.jsonl", "batch_size": 4, "learning_rate": 0.01}
    return job_of(written | asked, home.home.parent)


@pytest.mark.timeout(600)  # torch and TRL are imported twice
def test_a_killed_training_goes_on_to_the_curve_it_would_have_had_and_is_kept(home: Workspace) -> None:
    asked: dict[str, Any] = {
        "steps": 12,
        "checkpoints": {"every": 3},
        "samples": {"prompts": ["a car"], "every": 1},
        "adapter": {"dropout": 0.1},
    }
    job = create(home, training(home, name="killed", **asked))
    work = job_folder(home.home, job.name) / "work"
    until(lambda: _reached(work) in (5, 8), seconds=240)
    _trainer(work).kill()
    ended = submit.wait(home, job.name, seconds=240)
    assert ended.status == "Completed", ended.error
    told = [
        (each.step, (each.values or {})["loss"]) for _, each in events(work / "events.jsonl") if each.kind == "step"
    ]
    by_step: dict[int, set[float]] = {}
    for step, loss in told:
        by_step.setdefault(step, set()).add(loss)
    assert len(told) > 12  # some were done twice
    assert sorted(by_step) == list(range(1, 13))
    assert all(len(losses) == 1 for losses in by_step.values())  # and came out the same, to the last digit
    assert b"killed by signal 9: it goes on" in b"".join(submit.stream(home, job.name))
    found = listing.shown(home, job.name)
    assert [step for step, _ in found["curves"]["loss"]] == list(range(1, 13))
    asset = home.assets.get("model", found["model"])
    assert asset.properties["base"] == "model:tiny:1"
    assert (home.assets.path(asset) / "adapter_model.safetensors").is_file()
    assert not (work / "checkpoints").exists()
    query = "SELECT source, target FROM edges WHERE source = :run OR target = :run"
    edges = {(row["source"], row["target"]) for row in home.light.rows(query, run=f"run:{job.run_id}")}
    assert ("model:tiny:1", f"run:{job.run_id}") in edges
    assert (f"run:{job.run_id}", asset.ref) in edges
    assert any(source.startswith("data:") for source, _ in edges)
    with pytest.raises(Exception, match="has left no checkpoint"):
        again(home, job.name)
    assert "loss" in listing.words(found)


def _reached(work: Path) -> int:
    return max((each.step for _, each in events(work / "events.jsonl")), default=0)


def _trainer(work: Path) -> psutil.Process:
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "finetune.language.worker" in line and str(work / "plan.json") in line:
            return process
    raise AssertionError("nobody trains")


def test_rows_of_an_evaluation_set_are_not_trained_on(home: Workspace, tmp_path: Path) -> None:
    text = "What is the red number in the house of the very good car in Paris"
    (tmp_path / "evalset.jsonl").write_text(json.dumps({"question": text, "answer": "42"}) + "\n")
    home.assets.put("evalset", "cars", tmp_path / "evalset.jsonl")
    (tmp_path / "rows.jsonl").write_text(json.dumps(chat(text, "42")) + "\n")
    job = job_of({"type": "tuning", "base": "tiny", "data": str(tmp_path / "rows.jsonl")}, home.home.parent)
    ended = submit.wait(home, create(home, job).name, seconds=60)
    assert ended.status == "Failed"
    assert "stand in evaluation sets" in str(ended.error)
    assert not (job_folder(home.home, ended.name) / "work" / "events.jsonl").exists()


def test_a_plan_says_memory_time_and_cost_and_trains_nothing(home: Workspace) -> None:
    found = plan.planned(home, training(home, epochs=2, price_per_hour=3.0))
    assert (found["rows"], found["steps"], found["batch_size"]) == (24, 12, 4)
    assert found["fits"]
    assert found["memory"]["total"] > found["memory"]["overhead"]
    assert found["cost"] == pytest.approx(found["seconds"] / 3600 * 3.0, abs=0.01)
    assert "12 steps of 4 rows" in plan.words(found)
    assert not [job for job in listing.trainings(home, limit=99) if job.name == "plan"]


def test_an_unknown_key_is_told_with_its_line_and_what_was_meant(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (tmp_path / "tune.yml").write_text("base: tiny\ndata: rows.jsonl\nadapter:\n  rnk: 4\n")
    with pytest.raises(Invalid, match=r"tune\.yml:4:3: unknown key 'rnk'") as told:
        files.read(tmp_path / "tune.yml")
    assert told.value.hint == "did you mean 'rank'?"
    (tmp_path / "tune.yml").write_text("base: tiny\ndata: rows.jsonl\nearly_stopping: {patience: 2}\n")
    with pytest.raises(Invalid, match="early stopping needs validation rows"):
        files.read(tmp_path / "tune.yml")


def test_a_training_is_read_with_what_is_set_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (tmp_path / "tune.yml").write_text("base: tiny\ndata: rows.jsonl\n")
    job: Any = files.read(tmp_path / "tune.yml", (("adapter.rank", 32), ("method", "dpo")))
    assert (job.adapter.rank, job.adapter.scale, job.method, job.rate) == (32, 64.0, "dpo", 1e-5)


def test_every_key_stands_in_the_documentation_with_its_default() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import write_training; "
    code += "print(write_training.page(sys.stdin.read()), end='')"
    page = (DOCS / "training.md").read_text(encoding="utf-8")
    line = [sys.executable, "-c", code, str(DOCS)]
    done = subprocess.run(line, input=page, capture_output=True, text=True, check=True)
    assert done.stdout == page, "run `make docs`"
    assert "| `adapter.rank` | `8` | How wide the adapter is. |" in page


AZURE = """\
type: finetuning
task: {task}
model_provider: {provider}
model: {{type: custom_model, path: "azureml:tiny:1"}}
training_data: rows.jsonl
hyperparameters: {hyperparameters}
outputs: {{registered_model: {{type: custom_model, name: tuned}}}}
"""


def _azure(folder: Path, task: str, provider: str, hyperparameters: str) -> TuneJob:
    (folder / "rows.jsonl").write_text("{}\n")
    text = AZURE.format(task=task, provider=provider, hyperparameters=hyperparameters)
    (folder / "tune.yml").write_text(text)
    return azure.as_tuning(read_job(folder / "tune.yml"))


def test_files_of_azure_ml_mean_the_same_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = '{num_train_epochs: "3", per_device_train_batch_size: "2", learning_rate: "0.0001", lora_r: "16", '
    told += 'lora_alpha: "64", max_seq_length: "512", gradient_accumulation_steps: "4", deepspeed_stage: "2"}'
    job = _azure(tmp_path, "chatCompletion", "custom", told)
    assert (job.method, job.base, job.output, job.data.format) == ("sft", "azureml:tiny:1", "tuned", "chat")
    assert (job.epochs, job.batch_size, job.rate, job.accumulation, job.max_length) == (3.0, 2, 1e-4, 4, 512)
    assert (job.adapter.rank, job.adapter.scale) == (16, 64.0)
    assert "no effect here: deepspeed_stage" in capsys.readouterr().out
    job = _azure(tmp_path, "textCompletion", "azure_open_ai", "{n_epochs: 2, learning_rate_multiplier: 0.5}")
    assert (job.epochs, job.rate) == (2.0, 1e-4)
    assert _azure(tmp_path, "textClassification", "custom", "{}").method == "classify"
    assert _azure(tmp_path, "chatCompletion", "custom", '{apply_lora: "false"}').is_full
    with pytest.raises(Invalid, match="imageClassification' is not trained here"):
        _azure(tmp_path, "imageClassification", "custom", "{}")
    with pytest.raises(Invalid, match="'lora_r' cannot be 'many'"):
        _azure(tmp_path, "chatCompletion", "custom", "{lora_r: many}")


def test_what_goes_on_cannot_be_resumed_and_numbers_are_drawn(home: Workspace) -> None:
    job = create(home, training(home, name="waiting", resources={"properties": {"cpus": 1}}))
    if not records.get(home, job.name).ended:
        with pytest.raises(Conflict, match="training 'waiting' is"):
            again(home, job.name)
    submit.cancel(home, job.name)
    submit.wait(home, job.name, seconds=60)
    assert listing.sparkline([3, 2, 1]) == "█▄▁"
