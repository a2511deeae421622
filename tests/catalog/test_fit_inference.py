"""What serving is reckoned to take, for each family of architectures; the figures beside are their makers'."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from catalog.fit import devices, fitting
from catalog.fit.config import shape
from catalog.fit.fitting import Known
from catalog.fit.inference import Serving, cache_bytes, largest_batch, largest_context, memory, weight_bytes
from catalog.fit.shape import Shape
from catalog.fit.speed import expected
from workspace.errors import Invalid, NotFound

CONFIGS = Path(__file__).parents[3] / "shared/data/hub-catalog/configs"
LLAMA: Mapping[str, Any] = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 4, "vocab_size": 512,
    "num_attention_heads": 8, "num_key_value_heads": 2, "max_position_embeddings": 1024, "torch_dtype": "bfloat16",
}  # fmt: skip
# Counted by transformers 5.23 on its meta device, from the same files.
PARAMETERS = {
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "microsoft/Phi-3-mini-4k-instruct": 3_821_079_552,
    "mistralai/Mixtral-8x7B-v0.1": 46_702_792_704,
    "openai/gpt-oss-20b": 20_914_757_184,
    "deepseek-ai/DeepSeek-V3": 671_026_404_352,
    "google/gemma-3-4b-it": 3_880_263_168,
    "sentence-transformers/all-MiniLM-L6-v2": 22_713_216,
}


def _real(name: str) -> Shape:
    path = CONFIGS / f"{name.replace('/', '--')}.json"
    if not path.is_file():
        pytest.skip("the real configurations are not here")
    return shape(json.loads(path.read_text(encoding="utf-8")))


def _kept(found: Shape, context: int) -> int:
    return cache_bytes(found, Serving(context=context))


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_counted_to_the_last_one(name: str) -> None:
    assert _real(name).parameters == PARAMETERS[name]


def test_every_real_configuration_is_read_or_refused_in_words() -> None:
    files = sorted(CONFIGS.glob("*.json"))
    if not files:
        pytest.skip("the real configurations are not here")
    read = 0
    for path in files:
        found = json.loads(path.read_text(encoding="utf-8"))
        if path.name == "index.json" or "hf_quant" in path.name:
            continue
        with suppress(Invalid):  # of pictures and of sound
            read += memory(shape(found), Serving()).total > 0
    assert read >= 130


def test_every_head_keeps_keys_and_values() -> None:
    found = shape({**LLAMA, "num_key_value_heads": 8})
    assert _kept(found, 1000) == 4 * 1000 * 2 * 64 * 2


def test_heads_in_groups_keep_less() -> None:
    assert _kept(_real("meta-llama/Llama-3.1-8B-Instruct"), 1) == 131_072  # 32 layers, 8 heads of 128, twice, 2 bytes


def test_one_head_for_all_keeps_least() -> None:
    found = shape({"model_type": "gpt_bigcode", "n_embd": 64, "n_layer": 2, "n_head": 8, "multi_query": True,
                   "vocab_size": 100, "n_positions": 64})  # fmt: skip
    assert _kept(found, 10) == 2 * 10 * 2 * 8 * 2


def test_a_window_ends_what_is_kept() -> None:
    found = shape({**LLAMA, "model_type": "mistral", "sliding_window": 256})
    assert _kept(found, 256) == _kept(found, 100_000)
    assert {each.mixer for each in found.layers} == {"sliding"}


def test_windows_and_whole_layers_mix() -> None:
    found = _real("google/gemma-3-4b-it")
    mixers = [each.mixer for each in found.layers]
    assert (mixers.count("sliding"), mixers.count("full")) == (29, 5)
    assert found.layers[5].mixer == "full"


def test_the_latent_form_keeps_576_numbers_a_layer() -> None:
    found = _real("deepseek-ai/DeepSeek-V3")
    assert {each.cached for each in found.layers} == {512 + 64}
    assert _kept(found, 1000) == 61 * 576 * 1000 * 2


def test_experts_take_memory_and_only_some_take_time() -> None:
    found = _real("mistralai/Mixtral-8x7B-v0.1")
    assert found.active == pytest.approx(12.9e9, rel=0.02)
    assert weight_bytes(found, Serving()) == 2 * found.parameters


def test_a_state_does_not_grow_with_the_text() -> None:
    found = shape({"model_type": "mamba", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
                   "state_size": 16, "vocab_size": 100})  # fmt: skip
    assert _kept(found, 10) == _kept(found, 10_000) == 2 * 128 * (16 + 4) * 2


def test_recurrent_and_attending_layers_mix() -> None:
    found = _real("Qwen/Qwen3.5-27B")
    mixers = [each.mixer for each in found.layers]
    assert (mixers.count("recurrent"), mixers.count("full")) == (48, 16)
    one, two = _kept(found, 1000), _kept(found, 2000)
    assert two - one == 16 * 2 * 4 * 256 * 1000 * 2


def test_an_encoder_keeps_nothing() -> None:
    assert _kept(_real("sentence-transformers/all-MiniLM-L6-v2"), 512) == 0


@pytest.mark.parametrize(("method", "bits"), [("nf4", 4.127), ("int8", 8.008), ("Q4_0", 4.5), ("fp8", 8.002)])
def test_quantized_matrices_take_their_bits_with_scales(method: str, bits: float) -> None:
    found = shape({**LLAMA, "vocab_size": 1, "hidden_size": 1024, "intermediate_size": 4096})
    taken = weight_bytes(found, Serving(quantization=method))
    assert taken * 8 / found.parameters == pytest.approx(bits, rel=0.01)


def test_what_was_published_quantized_is_taken_as_it_is() -> None:
    found = _real("openai/gpt-oss-20b")
    assert found.quantization == "mxfp4"
    assert weight_bytes(found, Serving()) == pytest.approx(13.76e9, rel=0.02)  # the files at the Hub


def test_the_longest_context_fits_and_one_more_does_not() -> None:
    found, serving = _real("meta-llama/Llama-3.1-8B-Instruct"), Serving(batch=4)
    most = largest_context(found, serving, 24 * 10**9)
    assert 4096 < most < 131_072
    assert memory(found, Serving(batch=4, context=most)).total <= 24 * 10**9
    assert memory(found, Serving(batch=4, context=most + 1)).total > 24 * 10**9
    assert largest_batch(found, Serving(context=most), 24 * 10**9) >= 4


def test_a_token_waits_for_the_memory_and_batches_share_it() -> None:
    found, card = _real("meta-llama/Llama-3.1-8B-Instruct"), devices.named("h100")
    one, many = (expected(found, Serving(batch=batch), card) for batch in (1, 32))
    assert one.decode[0] < 150 < one.decode[1] < 3.35e12 / weight_bytes(found, Serving())
    assert many.decode[1] > 15 * one.decode[1]


def test_experts_make_a_token_faster_than_their_weights_suggest() -> None:
    found, card = _real("mistralai/Mixtral-8x7B-v0.1"), devices.named("H200")
    fast = expected(found, Serving(context=16), card).decode[1]
    assert fast == pytest.approx(0.85 * 4.8e12 / (2 * found.active), rel=0.05)


def test_devices_are_known_by_name_whatever_the_case() -> None:
    assert devices.named("rtx 4090").memory == 24 * 10**9
    assert all(each.source for each in devices.known())
    with pytest.raises(NotFound) as caught:
        devices.named("H1000")
    assert "h100" in str(caught.value.hint)


def test_the_engine_suits_device_and_files() -> None:
    found = Known(name="tiny", where="/models/tiny", shape=shape(LLAMA))
    processor, card = fitting.fit(found, Serving(), [devices.named("cpu"), devices.named("L4")])
    assert (processor.engine, card.engine) == ("torch", "vllm")
    assert card.command == "vllm serve /models/tiny --max-model-len 4096 --max-num-seqs 1"
    assert card.context == 1024  # all that it was made for


@pytest.mark.parametrize(
    "wrong", [{}, {"hidden_size": "wide"}, {"hidden_size": -1}, {**LLAMA, "num_hidden_layers": 10**7}]
)
def test_what_is_no_model_is_refused(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(Invalid, match=r"config\.json"):
        shape(wrong)
