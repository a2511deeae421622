"""What training is reckoned to take, beside what torch, transformers and PEFT really keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from catalog.fit.config import shape
from catalog.fit.training import Tuning, largest_batch, memory, saved, smaller, trainable
from workspace.errors import Invalid

LLAMA: Mapping[str, Any] = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "vocab_size": 512,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "tie_word_embeddings": True,
}  # fmt: skip
MOE = {**LLAMA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "llama": LLAMA,
    "qwen3": {**LLAMA, "model_type": "qwen3", "head_dim": 32},
    "gemma3": {**LLAMA, "model_type": "gemma3_text", "head_dim": 32, "sliding_window": 32, "sliding_window_pattern": 2},
    "phi": {**LLAMA, "model_type": "phi", "num_key_value_heads": 4, "tie_word_embeddings": False},
    "mixtral": MOE,
}  # fmt: skip
SMOLLM2 = {
    **LLAMA, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49152,
}  # fmt: skip
TOKENS = 64


def _model(config: Mapping[str, Any], adapter: str, dtype: str) -> Any:
    torch = pytest.importorskip("torch")
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    made = CONFIG_MAPPING[config["model_type"]].from_dict(dict(config))
    model = AutoModelForCausalLM.from_config(made, dtype=getattr(torch, dtype)).train()
    return model if adapter == "full" else get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))


def _kept(config: Mapping[str, Any], adapter: str, dtype: str) -> int:
    """Return the bytes that autograd holds after a forward pass, weights apart."""
    import torch

    model = _model(config, adapter, dtype)
    weights = {each.untyped_storage().data_ptr() for each in model.parameters()}
    seen: dict[int, tuple[int, Any]] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    ids = torch.randint(1, 500, (1, TOKENS))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    del loss
    return sum(size for size, _ in seen.values())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_keeps_for_the_backward_pass_what_is_reckoned(family: str, dtype: str) -> None:
    for adapter in ("full", "lora") if family != "mixtral" else ("full",):
        config = FAMILIES[family]
        wide = _kept({**config, "num_hidden_layers": 3}, adapter, dtype)
        more = (wide - _kept(config, adapter, dtype)) / TOKENS
        tuning = Tuning(adapter=adapter, rank=4, tokens=TOKENS, dtype=dtype)
        found = shape({**config, "num_hidden_layers": 3})
        assert saved(found.layers[-1], found, tuning) == pytest.approx(more, rel=0.04), adapter


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_have_as_many_numbers_as_peft_gives_them(family: str) -> None:
    model = _model(FAMILIES[family], "lora", "float32")
    counted = sum(each.numel() for each in model.parameters() if each.requires_grad)
    assert trainable(shape(FAMILIES[family]), Tuning(rank=4)) == counted


def test_targets_are_named_as_in_peft() -> None:
    found = shape(LLAMA)
    assert trainable(found, Tuning(rank=4, targets=("q_proj",))) == 2 * 4 * (64 + 64)
    with pytest.raises(Invalid, match="no query") as caught:
        trainable(found, Tuning(targets=("query",)))
    assert "q_proj, k_proj" in str(caught.value.hint)


def test_adamw_in_float32_takes_four_times_the_weights() -> None:
    found = memory(shape(SMOLLM2), Tuning(adapter="full", dtype="float32", tokens=1))
    assert found.weights == 134_515_008 * 4
    assert found.gradients == found.weights + 49152 * 576 * 4  # embeddings are used twice
    assert found.optimizer == 2 * found.weights


def test_a_base_in_four_bits_keeps_its_embeddings() -> None:
    found = memory(shape(SMOLLM2), Tuning(adapter="qlora"))
    embeddings = 49152 * 576 * 2
    assert embeddings < found.weights < embeddings + 106_200_000 * 0.53


def test_checkpointing_keeps_the_inputs_of_layers_and_one_layer() -> None:
    found, tuning = shape(SMOLLM2), Tuning(batch=4)
    small, large = memory(found, replace(tuning, checkpointing=True)), memory(found, tuning)
    assert small.activations < large.activations / 10
    assert small.weights == large.weights


def test_the_largest_batch_fits_and_one_more_does_not() -> None:
    found, tuning = shape(SMOLLM2), Tuning()
    most = largest_batch(found, tuning, 8 * 10**9)
    assert memory(found, replace(tuning, batch=most)).total <= 8 * 10**9
    assert memory(found, replace(tuning, batch=most + 1)).total > 8 * 10**9
    assert largest_batch(found, tuning, 10**8) == 0


def test_what_does_not_fit_is_made_smaller_until_it_does() -> None:
    found, tuning = shape(SMOLLM2), Tuning(batch=64, tokens=2048)
    proposed = smaller(found, tuning, 6 * 10**9)
    assert proposed is not None
    assert memory(found, proposed).total <= 6 * 10**9
    assert smaller(found, tuning, 10**8) is None


def test_scores_of_some_positions_at_once_take_less() -> None:
    found = shape(SMOLLM2)
    whole, parts = memory(found, Tuning(tokens=2048)), memory(found, Tuning(tokens=2048, logits=256))
    assert whole.logits == 8 * parts.logits


@pytest.mark.parametrize("wrong", [{"adapter": "ia3"}, {"optimizer": "adamx"}, {"batch": 0}, {"dtype": "float7"}])
def test_what_cannot_be_is_refused(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(Invalid):
        Tuning(**wrong)
