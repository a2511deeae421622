"""Two models behind a gateway whose memory holds one: all are answered, and no answer under way is cut for a swap."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from openai import OpenAI
from transformers import LlamaConfig, LlamaForCausalLM

from serving import replicas
from serving.local import local_gateway
from tests.serving.letters import END, byte_tokenizer
from workspace.home import Workspace
from workspace.settings import Settings

TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
ROOM_FOR_ONE = 600  # megabytes; either model is reckoned with 400


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace with two tiny models and little memory."""
    with Workspace.open(settings=Settings(home=tmp_path / "home", engine_memory=ROOM_FOR_ONE, threads=1)) as opened:
        for seed, name in enumerate(("one", "two")):
            torch.manual_seed(seed)
            config = LlamaConfig(
                vocab_size=END + 1,
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=2048,
                eos_token_id=END,
                initializer_range=0.3,
            )
            folder = tmp_path / name
            LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
            byte_tokenizer(TEMPLATE).save_pretrained(folder)
            opened.assets.put("model", name, folder, properties={"task": "chat"})
        yield opened
        replicas.stop_all(opened.home)


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.timeout(400)
def test_two_models_take_turns_and_no_answer_is_dropped(small: Workspace) -> None:
    most = [0]
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            most[0] = max(most[0], len(replicas.living(small.home)))

    with local_gateway(small) as gateway, ThreadPoolExecutor(8) as pool:
        client = OpenAI(base_url=gateway.base_url, api_key=gateway.token, max_retries=0, timeout=300)

        def ask(model: str) -> tuple[str, int]:
            """Stream an answer and return the model that gave it and how many pieces came, all of them."""
            stream = client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": "Hello"}],
                max_tokens=300,
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks = list(stream)
            assert chunks[-1].usage is not None
            assert chunks[-1].usage.completion_tokens > 0
            return model, len(chunks)

        watch = pool.submit(look)
        try:
            began = time.monotonic()
            asked = [pool.submit(ask, "one"), pool.submit(ask, "two"), pool.submit(ask, "one"), pool.submit(ask, "two")]
            answered = [each.result() for each in asked]
            assert [model for model, _ in answered] == ["one", "two", "one", "two"]
            assert all(pieces > 1 for _, pieces in answered)
            assert time.monotonic() - began < 300
            assert ask("one")[0] == "one"  # and back again
        finally:
            over.set()
            watch.result()
    assert most[0] == 1
