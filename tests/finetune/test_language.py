"""Language models learn: in parts as at once, again after a stop, and with a clear word where they cannot."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.language import checkpoints, head, running
from finetune.language.given import Given, events
from finetune.language.running import OutOfMemory
from finetune.language.worker import recipe
from jobs.files import job_of
from tests.finetune.tiny_models import tiny_chat
from workspace.errors import Invalid, StudioloError, Unavailable

Train = Callable[..., Given]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chat(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    write(path, [chat(f"a {'very ' * (number % 5)}red car", "good film") for number in range(24)])
    return path


@pytest.fixture
def train(base: Path, rows: Path, tmp_path: Path) -> Train:
    """Train in this process; again in the same `folder` goes on."""

    def run(*, folder: str = "one", data: Path = rows, model: Path = base, memory: int = 0, **asked: Any) -> Given:
        written = {"type": "tuning", "base": "tiny", "data": str(data), "batch_size": 4, "learning_rate": 0.01} | asked
        job: Any = job_of(written, tmp_path)
        (tmp_path / folder / "work").mkdir(parents=True, exist_ok=True)
        given = Given(
            job=job, base=model, base_name="tiny", data=data, validation=None, threads=1, memory=memory,
            work=tmp_path / folder / "work", output=tmp_path / folder / "output",
        )  # fmt: skip
        recipe(job.method)(given)
        return given

    return run


def chat(asked: str, said: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def curve(given: Given, name: str = "loss") -> list[tuple[int, float]]:
    return [(each.step, (each.values or {})[name]) for _, each in events(given.events) if name in (each.values or {})]


def losses(given: Given) -> list[float]:
    return [loss for _, loss in curve(given)]


def said(given: Given) -> str:
    return "\n".join(each.words for _, each in events(given.events) if each.kind == "words")


def test_an_adapter_learns_and_is_written_as_the_hub_has_them(train: Train) -> None:
    given = train(epochs=2)
    assert losses(given)[-1] < losses(given)[0] - 1
    config = json.loads((given.output / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["base_model_name_or_path"]) == ("LORA", 8, "tiny")
    assert "lm_head" not in config["target_modules"]
    assert (given.output / "adapter_model.safetensors").is_file()
    assert not list(given.work.rglob("*.bin"))


def test_a_batch_in_parts_is_the_batch_at_once(train: Train) -> None:
    whole = train(folder="whole", steps=4)
    small = train(folder="small", steps=4, tokens_at_once=40)
    alone = train(folder="alone", steps=4, packing=False)
    assert losses(small) == pytest.approx(losses(whole), rel=1e-4)
    assert losses(alone) == pytest.approx(losses(whole), rel=1e-4)


def test_the_loss_is_that_of_trl_itself(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = train(folder="ours", steps=3, tokens_at_once=40)
    monkeypatch.setattr(head, "is_plain", lambda _: False)
    monkeypatch.setattr("finetune.language.lora.join", lambda _: 0)
    theirs = train(folder="theirs", steps=3)
    assert losses(ours) == pytest.approx(losses(theirs), rel=1e-4)


def test_the_loss_has_the_gradients_of_torchs_own() -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(50, 8, requires_grad=True), torch.randn(30, 8, requires_grad=True)
    wanted = torch.randint(0, 30, (50,))
    mine = torch.autograd.grad(head.summed_loss(hidden, weight, wanted) * 2, [hidden, weight])
    plain = torch.nn.functional.cross_entropy(hidden @ weight.T, wanted, reduction="sum")
    for one, other in zip(mine, torch.autograd.grad(plain * 2, [hidden, weight]), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_a_training_that_was_stopped_has_the_same_curve_as_one_that_was_not(train: Train) -> None:
    asked: dict[str, Any] = {"steps": 9, "checkpoints": {"every": 2}, "adapter": {"dropout": 0.1}}
    whole = train(folder="whole", **asked)
    stopped = train(folder="stopped", **asked)
    shutil.rmtree(stopped.checkpoints / "checkpoint-9")
    shutil.rmtree(stopped.checkpoints / "checkpoint-8")
    shutil.copytree(whole.checkpoints / "checkpoint-8", stopped.checkpoints / "checkpoint-8")
    (stopped.checkpoints / "checkpoint-8" / checkpoints.SEAL).unlink()  # killed before it was whole
    assert checkpoints.newest(stopped.checkpoints) == (None, [])
    stopped.events.unlink()
    shutil.copytree(whole.checkpoints / "checkpoint-8", stopped.checkpoints / "checkpoint-8")
    train(folder="stopped", **asked)
    assert curve(stopped) == curve(whole)[8:]
    assert "goes on from the checkpoint of step 8 of 9" in said(stopped)


def test_of_damaged_checkpoints_the_one_before_is_used_and_it_is_said(train: Train) -> None:
    asked: dict[str, Any] = {"steps": 6, "checkpoints": {"every": 2}}
    given = train(**asked)
    before = curve(given)
    weights = given.checkpoints / "checkpoint-6" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    given.events.unlink()
    train(**asked)
    assert "the checkpoint of step 6 is damaged (adapter_model.safetensors is not what was written)" in said(given)
    assert curve(given) == before[4:]


def test_a_loss_that_is_no_number_stops_with_the_step_and_its_rows(train: Train) -> None:
    with pytest.raises(Invalid, match=r"of step \d is (nan|inf), with rows \d+, \d+") as told:
        train(learning_rate=1e30, schedule="constant", warmup=0)
    assert "learning_rate" in str(told.value.hint)


def test_a_tokenizer_of_another_model_is_refused(train: Train, base: Path, tmp_path: Path) -> None:
    other = shutil.copytree(base, tmp_path / "other")
    config = json.loads((other / "config.json").read_text()) | {"vocab_size": 100}
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(Invalid, match="it is another model's"):
        train(model=other)


def test_what_cannot_be_begun_with_is_told(train: Train, base: Path, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="the model has no q_prj") as told:
        train(adapter={"targets": ["q_prj"]})
    assert "it has q_proj" in str(told.value.hint)
    with pytest.raises(Invalid, match="qlora needs a CUDA GPU"):
        train(adapter={"kind": "qlora"})
    with pytest.raises(Invalid, match="no pairs of answers"):
        train(method="dpo")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(Invalid, match="is an adapter, not a model"):
        train(model=adapter)


def test_where_no_way_fits_into_memory_a_smaller_one_is_proposed_with_numbers(train: Train) -> None:
    with pytest.raises(OutOfMemory, match="no way of training it fits") as told:
        train(memory=2**20)
    assert "--set max_length=512" in str(told.value.hint)
    assert "0.0 GiB are free" in str(told.value.hint)


def test_torchs_words_about_memory_are_understood(train: Train) -> None:
    given = train(steps=1)
    words = "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"
    assert isinstance(running.told(RuntimeError(words), given), OutOfMemory)


def test_on_a_full_disk_the_checkpoint_before_stays_whole(train: Train, small: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "work").symlink_to(small)
    with pytest.raises(Unavailable, match=r"the disk is full.*the checkpoint of step \d is whole") as told:
        train(steps=8, checkpoints={"every": 2, "keep": 4})
    assert "studiolo finetune run --resume" in str(told.value.hint)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk that has room for one checkpoint, not for two."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=700k", "none", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    yield place
    subprocess.run(["/bin/umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("method", ["dpo", "kto", "orpo"])
def test_preferences_are_learnt(train: Train, tmp_path: Path, method: str) -> None:
    asked = [f"a {'very ' * (number % 3)}red car" for number in range(12)]
    pairs = [{"prompt": each, "chosen": "good film", "rejected": "bad soup"} for each in asked]
    verdicts = [
        {"prompt": each, "completion": "good film" if number % 2 else "bad soup", "label": bool(number % 2)}
        for number, each in enumerate(asked)
    ]
    data = write(tmp_path / "rows.jsonl", verdicts if method == "kto" else pairs)
    given = train(data=data, method=method, epochs=3, split={"validation": 0.2})
    assert losses(given)[-1] < losses(given)[0]
    assert curve(given, "validation_loss")
    assert sorted(path.name for path in given.output.iterdir() if path.suffix != ".md") == [
        "adapter_config.json", "adapter_model.safetensors"
    ]  # fmt: skip


def test_all_of_a_model_learns_and_keeps_the_tokenizer_to_the_byte(train: Train, base: Path) -> None:
    given = train(adapter={"kind": "full"}, learning_rate=1e-3, epochs=2)
    assert losses(given)[-1] < losses(given)[0]
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (given.output / name).read_bytes() == (base / name).read_bytes()
    assert (given.output / "model.safetensors").is_file()


@pytest.mark.parametrize("kind", ["dora", "rslora"])
def test_other_adapters_learn_too(train: Train, kind: str) -> None:
    given = train(adapter={"kind": kind}, steps=4)
    assert losses(given)[-1] < losses(given)[0]
    assert json.loads((given.output / "adapter_config.json").read_text())[f"use_{kind}"] is True


def test_it_stops_early_where_nothing_is_gained_and_tells_samples(train: Train) -> None:
    stopping = {"patience": 1, "least": 100.0}
    samples = {"prompts": ["a red car"], "every": 1, "max_tokens": 3}
    asked = {"early_stopping": stopping, "samples": samples, "split": {"validation": 0.2}, "evaluate_every": 1}
    given = train(steps=20, gradient_checkpointing=True, accumulation=2, **asked)
    assert len(losses(given)) == 2
    found = [each.detail or {} for _, each in events(given.events) if each.kind == "sample"]
    assert [each["prompt"] for each in found] == ["a red car"] * 2


def test_rows_without_anything_to_learn_are_refused(train: Train, tmp_path: Path) -> None:
    with pytest.raises(StudioloError, match="no row has anything to learn"):
        train(data=write(tmp_path / "long.jsonl", [chat("very " * 99, "good")]), max_length=16)
