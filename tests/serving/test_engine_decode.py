"""Our own forward pass gives transformers' numbers, for every kind of model that it says it can run."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from serving.engines.batch import Batch, Part, batch_of
from serving.engines.batch_any import AnyBatch
from serving.engines.batch_llama import LlamaBatch
from serving.engines.llama import Llama, is_built_alike

WORDS = 97
SIZES: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
KINDS: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaForCausalLM, LlamaConfig(**SIZES, head_dim=8)),
    "llama with biases, tied": (
        LlamaForCausalLM,
        LlamaConfig(**SIZES, head_dim=16, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    ),
    "llama 3": (LlamaForCausalLM, LlamaConfig(**SIZES, head_dim=8, rope_parameters=LLAMA3)),
    "mistral": (MistralForCausalLM, MistralConfig(**SIZES, head_dim=8, sliding_window=None)),
    "qwen 2": (Qwen2ForCausalLM, Qwen2Config(**SIZES)),
    "qwen 3": (Qwen3ForCausalLM, Qwen3Config(**SIZES, head_dim=16)),
}


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> Any:
    return _made(*KINDS[request.param])


def _made(kind: Any, config: Any) -> Any:
    torch.manual_seed(0)
    made = kind(config).eval()
    with torch.inference_mode():
        for name, weight in made.named_parameters():  # biases and norms are all alike when a model is made
            if weight.dim() == 1:
                weight += torch.randn_like(weight) * 0.2
            assert torch.isfinite(weight).all(), name
    return made


def _prompts(*lengths: int) -> list[list[int]]:
    return [[(row * 31 + place * 7) % WORDS for place in range(length)] for row, length in enumerate(lengths)]


def _expected(model: Any, tokens: Sequence[int]) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=torch.tensor([list(tokens)])).logits[0]
    return logits


def _close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool(torch.allclose(found, expected, atol=1e-3 * float(expected.abs().max()), rtol=1e-3))


def _read(batch: Batch, prompts: Sequence[Sequence[int]]) -> None:
    for prompt in prompts:
        reading = batch.open(len(prompt), None)
        batch.read([Part(reading, prompt)])
        batch.join(reading)


def test_prompts_read_together_and_in_parts_give_the_logits_of_each(model: Any) -> None:
    batch = batch_of(model)
    assert isinstance(batch, LlamaBatch)
    prompts = _prompts(40, 3, 17)
    readings = [batch.open(len(prompt), None) for prompt in prompts]
    first = batch.read([Part(reading, prompt[:2], 2) for reading, prompt in zip(readings, prompts, strict=True)])
    rest = batch.read([Part(reading, prompt[2:], 1) for reading, prompt in zip(readings, prompts, strict=True)])
    for prompt, early, late in zip(prompts, first, rest, strict=True):
        expected = _expected(model, prompt)
        assert _close(early, expected[:2])
        assert _close(late, expected[-1:])


def test_rows_that_join_and_leave_give_the_logits_of_each_alone(model: Any) -> None:
    batch = batch_of(model)
    texts = _prompts(5, 150, 31, 8)
    _read(batch, texts[:3])
    for step in range(30):
        if step == 9:
            batch.keep([2, 1])  # the first leaves, the last takes its place
            texts = [texts[2], texts[1], texts[3]]
            _read(batch, texts[2:])
        fed = [(step * 13 + row) % WORDS for row in range(3)]
        texts = [[*text, token] for text, token in zip(texts, fed, strict=False)] + texts[3:]
        logits = batch.step(fed)
        if step % 5 == 4:
            for text, found in zip(texts, logits, strict=False):
                assert _close(found, _expected(model, text)[-1])


def test_in_bfloat16_it_is_as_near_to_the_truth_as_transformers_is() -> None:
    model = _made(*KINDS["llama"]).to(torch.bfloat16)
    batch = batch_of(model)
    [prompt] = _prompts(40)
    [ours] = batch.read([Part(batch.open(40, None), prompt, 40)])
    theirs = _expected(model, prompt)
    truth = _expected(model.float(), prompt)
    assert (ours - truth).abs().mean() < 1.2 * (theirs - truth).abs().mean()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="products are laid out on x86 alone")
def test_a_lone_row_in_float16_is_nearer_to_the_truth_than_bfloat16_is() -> None:
    model = _made(*KINDS["llama"]).to(torch.bfloat16)
    [prompt] = _prompts(20)
    rounded = _stepped(batch_of(model), prompt)
    truth = _expected(model.float(), [*prompt, 3])[-1]
    halved = Llama(model, halve=True)
    ours = _stepped(LlamaBatch(halved), prompt)
    assert halved.halves.on
    assert not torch.equal(ours, _stepped(batch_of(model), prompt))  # it is another way, and it was gone
    assert (ours - truth).abs().mean() < 0.5 * (rounded - truth).abs().mean()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="products are laid out on x86 alone")
def test_numbers_that_outgrow_float16_are_made_in_float32_and_so_are_those_after_them() -> None:
    model = _made(*KINDS["llama"])
    for layer in model.model.layers:
        layer.mlp.up_proj.weight *= 5_000
        layer.mlp.gate_proj.weight *= 50
    [prompt] = _prompts(20)
    halved = Llama(model, halve=True)
    batch = LlamaBatch(halved)
    found = _stepped(batch, prompt)
    assert not halved.halves.on
    assert _close(found, _expected(model, [*prompt, 3])[-1])
    assert _close(batch.step([4])[0], _expected(model, [*prompt, 3, 4])[-1])


def _stepped(batch: Batch, prompt: Sequence[int]) -> torch.Tensor:
    _read(batch, [prompt])
    return batch.step([3])[0]


def test_a_model_that_is_taken_is_not_held_twice() -> None:
    model = _made(*KINDS["llama"])
    batch_of(Llama(model, take=True))
    assert sum(weight.numel() for weight in model.model.layers.parameters()) == 0


def test_other_models_run_by_their_own_forward_pass() -> None:
    windowed = MistralForCausalLM(MistralConfig(**SIZES, head_dim=8, sliding_window=16))
    stretched = {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.0}
    dynamic = LlamaForCausalLM(LlamaConfig(**SIZES, head_dim=8, rope_parameters=stretched))
    other = GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, n_embd=48, n_layer=2, n_head=4))
    assert not any(is_built_alike(model) for model in (windowed, dynamic, other))


def test_a_batch_of_any_model_gives_the_logits_of_each_row_alone() -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=WORDS, n_embd=48, n_layer=2, n_head=4, initializer_range=0.3)
    model = GPT2LMHeadModel(config).eval()
    batch = batch_of(model)
    assert isinstance(batch, AnyBatch)
    texts = _prompts(9, 4)
    _read(batch, texts)
    for token in (3, 4, 5):
        texts = [[*text, token] for text in texts]
        logits = batch.step([token, token])
    for text, found in zip(texts, logits, strict=True):
        assert _close(found, _expected(model, text)[-1])
