"""LoRA adapters: rows of two adapters and of the model itself share a batch, and each says what PEFT's merge says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from starlette.applications import Starlette
from starlette.testclient import TestClient

from serving.endpoints import Deployment
from serving.engines.adapter_routes import asked_for, loading_adapters
from serving.engines.adapters import CONFIG, WEIGHTS, Adapters
from serving.engines.launch_adapters import adapters as adapters_of
from serving.engines.llama import Llama
from serving.engines.prefixes import BLOCK
from serving.engines.routes import _refused
from serving.engines.scheduler import Scheduler
from serving.openai_errors import Refusal
from tests.serving.tiny_model import LAYERS, Letters, ask, greedy, said, tiny_llama
from workspace import Workspace
from workspace.errors import Invalid, NotFound

PROMPTS = [[1 + (row * 17 + place * 5) % 60 for place in range(6 + row * 9)] for row in range(6)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters as PEFT saves them: one of the attention, one of everything, of other rank and scaling."""
    from peft import LoraConfig, get_peft_model

    attention = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], bias="none")
    everything = LoraConfig(
        r=6,
        lora_alpha=5,
        use_rslora=True,
        rank_pattern={"down_proj": 3},
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    )
    made = {}
    for number, (name, config) in enumerate({"polite": attention, "rude": everything}.items()):
        torch.manual_seed(number + 1)
        tuned = get_peft_model(tiny_llama(), config)
        torch.manual_seed(number + 1)
        with torch.no_grad():
            for key, weight in tuned.named_parameters():
                if "lora_" in key:
                    weight.normal_(std=0.5)
        made[name] = tmp_path_factory.mktemp(name)
        tuned.save_pretrained(str(made[name]))
    return made


@pytest.fixture(scope="module")
def merged(folders: dict[str, Path]) -> dict[str | None, Any]:
    """What each should sound like, by PEFT alone."""
    from peft import PeftModel

    tuned = {name: PeftModel.from_pretrained(tiny_llama(), str(folder)) for name, folder in folders.items()}
    return {None: tiny_llama(), **{name: model.merge_and_unload().eval() for name, model in tuned.items()}}


@pytest.fixture
def adapters(folders: dict[str, Path]) -> Adapters:
    loaded = Adapters(Llama(tiny_llama()))
    for name, folder in folders.items():
        loaded.load(name, folder)
    return loaded


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made = Scheduler(tiny_llama(), Letters(), rows=8)
    yield made
    made.close()


def test_rows_of_two_adapters_and_of_the_model_itself_share_a_batch(
    scheduler: Scheduler, adapters: Adapters, merged: dict[str | None, Any]
) -> None:
    names = [None, "polite", "rude", "polite", None, "rude"]
    waits = [
        ask(scheduler, prompt, 12 + row, adapters.get(name) if name else None)[1]
        for row, (prompt, name) in enumerate(zip(PROMPTS, names, strict=True))
    ]
    expected = [
        greedy(merged[name], prompt, 12 + row) for row, (prompt, name) in enumerate(zip(PROMPTS, names, strict=True))
    ]
    assert [said(wait()) for wait in waits] == expected
    assert expected[1] != greedy(merged[None], PROMPTS[1], 13)


def test_an_adapter_alone_in_a_batch_says_the_same(
    scheduler: Scheduler, adapters: Adapters, merged: dict[str | None, Any]
) -> None:
    assert said(ask(scheduler, PROMPTS[2], 9, adapters.get("rude"))[1]()) == greedy(merged["rude"], PROMPTS[2], 9)


def test_a_prefix_read_with_one_adapter_is_not_reused_by_another(
    scheduler: Scheduler, adapters: Adapters, merged: dict[str | None, Any]
) -> None:
    prompt = [1 + place * 3 % 60 for place in range(2 * BLOCK + 3)]
    for name in ("polite", "rude", None):
        answer, wait = ask(scheduler, prompt, 6, adapters.get(name) if name else None)
        assert said(wait()) == greedy(merged[name], prompt, 6)
        assert answer.cached == 0


def test_adapters_are_called_by_the_model_or_by_their_own_field(adapters: Adapters) -> None:
    assert asked_for(adapters, {"model": "polite"}) is adapters.get("polite")
    assert asked_for(adapters, {"model": "smollm2", "adapter": "rude"}) is adapters.get("rude")
    assert asked_for(adapters, {"model": "smollm2"}) is None
    with pytest.raises(Refusal) as caught:
        asked_for(adapters, {"adapter": "kind"})
    assert (caught.value.status, caught.value.param) == (404, "adapter")


def test_adapters_are_loaded_and_unloaded_while_the_engine_runs(folders: dict[str, Path]) -> None:
    loaded = Adapters(Llama(tiny_llama()))
    client = TestClient(Starlette(routes=loading_adapters(loaded), exception_handlers={Refusal: _refused}))
    body = {"lora_name": "polite", "lora_path": str(folders["polite"])}
    assert client.post("/v1/load_lora_adapter", json=body).json()["rank"] == 4
    assert loaded.names == ["polite"]
    assert client.post("/v1/unload_lora_adapter", json={"lora_name": "polite"}).status_code == 200
    assert loaded.names == []
    assert client.post("/v1/unload_lora_adapter", json={"lora_name": "polite"}).status_code == 404


def _changed(folder: Path, target: Path, **config: Any) -> Path:
    target.mkdir()
    told = json.loads((folder / CONFIG).read_text())
    (target / CONFIG).write_text(json.dumps({**told, **config}))
    save_file(load_file(folder / WEIGHTS), target / WEIGHTS)
    return target


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"peft_type": "IA3"}, "not of a LoRA adapter"),
        ({"r": 0}, "'r' must be"),
        ({"r": 5}, "rank 5"),
    ],
)
def test_what_is_more_than_plain_lora_is_refused(
    folders: dict[str, Path], tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        Adapters(Llama(tiny_llama())).load("odd", _changed(folders["polite"], tmp_path / "odd", **config))


def test_an_adapter_of_another_model_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    target = _changed(folders["polite"], tmp_path / "other")
    prefix = "base_model.model.model.layers"
    for key, message in {
        f"{prefix}.{LAYERS}.self_attn.q_proj": f"layer {LAYERS}",
        f"{prefix}.0.self_attn.gate_proj": "does not have",
        "base_model.model.lm_head": "no part of a layer",
    }.items():
        factors = {f"{key}.lora_A.weight": torch.zeros(4, 32), f"{key}.lora_B.weight": torch.zeros(32, 4)}
        save_file(factors, target / WEIGHTS)
        with pytest.raises(Invalid, match=message):
            Adapters(Llama(tiny_llama())).load("other", target)


def test_a_pickle_is_not_opened(folders: dict[str, Path], tmp_path: Path) -> None:
    target = _changed(folders["polite"], tmp_path / "pickled")
    (target / WEIGHTS).rename(target / "adapter_model.bin")
    with pytest.raises(NotFound, match="safetensors"):
        Adapters(Llama(tiny_llama())).load("pickled", target)


def test_a_model_that_is_not_built_alike_takes_no_adapter(folders: dict[str, Path]) -> None:
    with pytest.raises(Invalid, match="takes no adapters"):
        Adapters(object()).load("polite", folders["polite"])


def test_a_deployment_names_its_adapters_by_models_of_the_workspace_or_by_folders(
    workspace: Workspace, folders: dict[str, Path]
) -> None:
    kept = workspace.assets.put("model", "polite-lora", folders["polite"])
    found = adapters_of(workspace, _deployment({"polite": kept.ref, "rude": str(folders["rude"])}))
    assert {name: (folder / CONFIG).is_file() for name, folder in found.items()} == {"polite": True, "rude": True}


@pytest.mark.parametrize("given", [["polite"], {"a b": "model:x:1"}, {"polite": "/nowhere"}, {"a=b": "/tmp"}])
def test_adapters_that_cannot_be_meant_are_refused(workspace: Workspace, given: Any) -> None:
    with pytest.raises(Invalid):
        adapters_of(workspace, _deployment(given))


def _deployment(given: Any) -> Deployment:
    return Deployment(endpoint="e", name="d", engine="torch", model="model:m:1", properties={"adapters": given})
