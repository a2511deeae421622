"""Merging: what PEFT's adapter says, the merged model says; and what does not fit is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.after.merge import merge
from finetune.after.parity import ROUNDED, compare, listen
from tests.finetune.tiny_models import tiny_adapter, tiny_chat
from workspace.errors import Invalid, NotFound

EVERYTHING = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chat(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_adapter(base, tmp_path_factory.mktemp("adapter") / "polite")


def logits(folder: Path, adapter: Path | None = None) -> torch.Tensor:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, str(adapter)) if adapter else model
    with torch.inference_mode():
        found: torch.Tensor = model.eval()(torch.arange(5, 60)[None]).logits
    return found


@pytest.mark.parametrize("settings", [
    {}, {"target_modules": EVERYTHING, "use_rslora": True, "rank_pattern": {"down_proj": 2}},
    {"use_dora": True}, {"alpha_pattern": {"q_proj": 32}}, {"modules_to_save": ["embed_tokens"]},
], ids=["lora", "rslora", "dora", "alpha", "whole"])  # fmt: skip
def test_a_merged_model_says_what_the_adapter_said(base: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    adapter = tiny_adapter(base, tmp_path / "adapter", **settings)
    merged = merge(base, adapter, tmp_path / "merged")
    assert torch.allclose(logits(merged.folder), logits(base, adapter), atol=2e-4)
    assert not torch.allclose(logits(merged.folder), logits(base), atol=0.1)
    assert merged.dtype == "float32"
    assert (merged.folder / "generation_config.json").is_file()


def test_merging_keeps_the_numbers_of_the_base_or_takes_those_asked_for(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    half = merge(base, adapter, tmp_path / "half", dtype="bfloat16")
    again = merge(half.folder, adapter, tmp_path / "again")
    assert (half.dtype, again.dtype) == ("bfloat16", "bfloat16")
    assert json.loads((half.folder / "config.json").read_text())["dtype"] == "bfloat16"
    compare(listen(base, adapter=adapter), listen(half.folder), tie=ROUNDED)


def test_an_adapter_of_another_model_is_refused_and_nothing_is_left(base: Path, tmp_path: Path) -> None:
    deep = tiny_chat(tmp_path / "deep", num_hidden_layers=3)
    with pytest.raises(Invalid, match="which tiny does not have"):
        merge(base, tiny_adapter(deep, tmp_path / "a"), tmp_path / "merged")
    wide = tiny_chat(tmp_path / "wide", hidden_size=128)
    with pytest.raises(Invalid, match="and the base has 64 x 128"):
        merge(base, tiny_adapter(wide, tmp_path / "b"), tmp_path / "merged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "deep", "wide"]


def test_what_is_no_whole_adapter_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no adapter in"):
        merge(base, tmp_path, tmp_path / "merged")
    broken = Path(shutil.copytree(adapter, tmp_path / "broken"))
    weights = broken / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(Invalid, match="cannot be read"):
        merge(base, broken, tmp_path / "merged")
    weights.unlink()
    with pytest.raises(NotFound, match=r"has no adapter_model\.safetensors"):
        merge(base, broken, tmp_path / "merged")
