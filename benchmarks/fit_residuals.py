"""How far the memory that `catalog/fit` reckons is from what a process takes: one fresh process a row."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

# Without the first two, glibc keeps what was freed in holes that fit nothing: docs/fit.md.
VARIABLES = {
    "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "131072", "OMP_NUM_THREADS": "1",
    "TRANSFORMERS_VERBOSITY": "error", "PYTHONWARNINGS": "ignore",
}  # fmt: skip
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # started as a file, also by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One model and one setting; `how` is `serve` or the adapter of a training."""

    name: str
    config: Mapping[str, Any]
    how: str = "serve"
    batch: int = 1
    tokens: int = 512
    dtype: str = "float32"
    options: Mapping[str, Any] = field(default_factory=dict)


LLAMA: Mapping[str, Any] = {
    "model_type": "llama", "hidden_size": 384, "intermediate_size": 1152, "num_hidden_layers": 6,
    "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 32000, "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}  # fmt: skip
SMOLLM2 = {
    **LLAMA, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192,
}  # fmt: skip
QWEN2 = {**LLAMA, "model_type": "qwen2"}
QWEN3 = {**LLAMA, "model_type": "qwen3", "head_dim": 96}
MISTRAL = {**LLAMA, "model_type": "mistral", "sliding_window": 256}
GEMMA3 = {
    **LLAMA, "model_type": "gemma3_text", "head_dim": 96, "sliding_window": 256, "sliding_window_pattern": 4,
    "vocab_size": 65536,
}  # fmt: skip
MIXTRAL = {**LLAMA, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
DEEPSEEK = {
    **LLAMA, "model_type": "deepseek_v3", "num_key_value_heads": 8, "kv_lora_rank": 128, "q_lora_rank": 192,
    "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64, "n_routed_experts": 16, "num_experts_per_tok": 2,
    "moe_intermediate_size": 512, "n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1,
}  # fmt: skip
MAMBA = {
    "model_type": "mamba", "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 8, "state_size": 16,
    "conv_kernel": 4, "time_step_rank": 32, "vocab_size": 32000, "tie_word_embeddings": True,
}  # fmt: skip
BERT = {
    "model_type": "bert", "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2,
}  # fmt: skip
GPT2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "vocab_size": 50257}
PHI = {
    **LLAMA, "model_type": "phi", "num_key_value_heads": 8, "tie_word_embeddings": False, "partial_rotary_factor": 0.5,
}  # fmt: skip

CASES = (
    Case(name="llama 26M", config=LLAMA, batch=4, tokens=1024),
    Case(name="SmolLM2-135M", config=SMOLLM2, batch=2, tokens=1024),
    Case(name="SmolLM2-135M", config=SMOLLM2, batch=4, tokens=256, dtype="bfloat16"),
    Case(name="qwen2 26M", config=QWEN2, batch=2, tokens=2048),
    Case(name="qwen3 28M", config=QWEN3, batch=2, tokens=2048),
    Case(name="mistral, sliding", config=MISTRAL, batch=2, tokens=2048),
    Case(name="gemma3, sliding", config=GEMMA3, batch=2, tokens=2048),
    Case(name="mixtral, 8 experts", config=MIXTRAL, batch=2, tokens=512),
    Case(name="deepseek, latent", config=DEEPSEEK, batch=2, tokens=1024),
    Case(name="mamba 30M", config=MAMBA, batch=4, tokens=128),
    Case(name="bert-base", config=BERT, batch=4, tokens=512),
    Case(name="gpt2", config=GPT2, batch=2, tokens=1024),
    Case(name="phi, parallel", config=PHI, batch=4, tokens=1024),
    Case(name="SmolLM2-135M", config=SMOLLM2, how="lora", batch=1, tokens=256),
    Case(name="SmolLM2-135M", config=SMOLLM2, how="lora", batch=2, tokens=256),
    Case(name="SmolLM2-135M", config=SMOLLM2, how="lora", batch=2, tokens=256, options={"checkpointing": True}),
    Case(name="SmolLM2-135M", config=SMOLLM2, how="lora", batch=1, tokens=256, dtype="bfloat16"),
    Case(
        name="SmolLM2-135M", config=SMOLLM2, how="lora", batch=2, tokens=256, options={"targets": ["q_proj", "v_proj"]}
    ),
    Case(name="SmolLM2-135M", config=SMOLLM2, how="full", batch=1, tokens=256),
    Case(name="llama 26M", config=LLAMA, how="full", batch=2, tokens=512),
    Case(name="qwen3 28M", config=QWEN3, how="lora", batch=2, tokens=512),
    Case(name="gemma3, sliding", config=GEMMA3, how="lora", batch=2, tokens=512),
    Case(name="mixtral, 8 experts", config=MIXTRAL, how="lora", batch=1, tokens=512),
    Case(name="gpt2", config=GPT2, how="full", batch=1, tokens=512),
    Case(name="phi, parallel", config=PHI, how="lora", batch=2, tokens=512),
)


def main() -> None:
    """Print a table of what was reckoned and measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name and way hold this")
    parser.add_argument("--skip", type=int, default=0, help="so many of them")
    parser.add_argument("--workers", type=int, default=1, help="processes at once; each has one thread")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(Case(**json.loads(asked.one)), asked.device)))
        return
    print("| model | way | dtype | batch x tokens | reckoned | measured | off | with the process | off |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    cases = [case for case in CASES if asked.only in f"{case.name} {case.how} {case.dtype}"][asked.skip :]
    with ThreadPoolExecutor(asked.workers) as pool:
        for line in pool.map(partial(row, device=asked.device), cases):
            print(line, flush=True)


def row(case: Case, device: str) -> str:
    """Measure one case in a process of its own."""
    command = [sys.executable, __file__, "--device", device, "--one", json.dumps(asdict(case))]
    variables = {**os.environ, **VARIABLES}
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    if done.returncode:
        return f"| {case.name} | {case.how} | {done.stderr.strip().splitlines()[-1][:200]} |"
    found = json.loads(done.stdout.splitlines()[-1])
    ours, net, process = reckoned(case), found["net"], found["process"]
    way = case.how + ("".join(f", {key}" for key in case.options))
    size = f"{case.batch} x {case.tokens}"
    return (
        f"| {case.name} | {way} | {case.dtype} | {size} | {ours / 1e6:,.0f} MB | {net / 1e6:,.0f} MB "
        f"| {ours / net - 1:+.1%} | {(net + process) / 1e6:,.0f} MB | {(ours + process) / (net + process) - 1:+.1%} |"
    )


def reckoned(case: Case) -> int:
    """Return what our formulas say, without the process itself."""
    from catalog.fit.config import shape
    from catalog.fit.training import Tuning, memory

    found = shape(case.config)
    if case.how != "serve":
        tuning = Tuning(adapter=case.how, batch=case.batch, tokens=case.tokens, dtype=case.dtype, **case.options)  # type: ignore[arg-type]
        return memory(found, tuning).total
    from catalog.fit.inference import Serving
    from catalog.fit.inference import memory as inference_memory

    serving = Serving(
        context=case.tokens, batch=case.batch, dtype=case.dtype, prefill=case.batch * case.tokens, plain=True
    )
    return inference_memory(found, serving).total


def measured(case: Case, device: str) -> dict[str, int]:
    """Return the most bytes that were in use, above those before there was a model."""
    warnings.filterwarnings("ignore")
    import torch

    torch.set_num_threads(1)
    work(Case(**{**asdict(case), "config": small(case.config), "batch": 1, "tokens": 16}), device)  # what loads late
    process = resident("VmRSS")
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        work(case, device)
        return {"net": torch.cuda.max_memory_allocated(), "process": process}
    work(case, device)
    return {"net": resident("VmHWM") - process, "process": process}


def small(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same kind of model with next to nothing in it."""
    most = {"num_hidden_layers": 2, "n_layer": 2, "vocab_size": 512, "intermediate_size": 64}
    return {key: min(most[key], value) if key in most else value for key, value in config.items()}


def work(case: Case, device: str) -> None:
    """Make the model and let it do what is measured."""
    import torch
    from transformers import AutoModel, AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config = CONFIG_MAPPING[case.config["model_type"]].from_dict(dict(case.config))
    kind = AutoModel if case.config["model_type"] == "bert" else AutoModelForCausalLM
    with torch.device(device):
        model = kind.from_config(config, dtype=getattr(torch, case.dtype))
        ids = torch.randint(1, 500, (case.batch, case.tokens))
        if device == "cpu":
            settle()
        (serve if case.how == "serve" else train)(model, ids, case)


def serve(model: Any, ids: Any, case: Case) -> None:
    """Read the prompts and give four tokens."""
    import torch

    model.eval()
    with torch.inference_mode():
        if case.config["model_type"] == "bert":
            model(ids)
            return
        keeps = {"cache_params": None} if case.config["model_type"] == "mamba" else {}
        found = model(ids[:, :-4], use_cache=True, logits_to_keep=1, **keeps)
        name = "cache_params" if keeps else "past_key_values"
        cache = getattr(found, name)
        for _ in range(4):
            model(found.logits[:, -1:].argmax(-1), use_cache=True, **{name: cache})


def train(model: Any, ids: Any, case: Case) -> None:
    """Take two steps."""
    import torch

    options = dict(case.options)
    checkpointing = options.pop("checkpointing", False)
    if case.how != "full":
        from peft import LoraConfig, get_peft_model

        targets = list(options.get("targets", ())) or "all-linear"
        model = get_peft_model(model, LoraConfig(r=8, target_modules=targets, task_type="CAUSAL_LM"))
    if checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    for _ in range(2):
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def resident(which: str) -> int:
    """Return VmRSS or VmHWM, the most so far, of this process."""
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith(which))
    return int(line.split()[1]) * 1024


def settle() -> None:
    """Count from here: what building a model took and gave back is no part of running it."""
    import gc

    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main()
