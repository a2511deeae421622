"""A LoRA adapter that means nothing, for any engine that serves the embedded model."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file


def put_adapter(folder: Path, seed: int) -> Path:
    """Write a LoRA adapter of the embedded model whose numbers are drawn."""
    torch.manual_seed(seed)
    found = {}
    for layer in range(30):
        for name, size in (("q_proj", 576), ("v_proj", 192)):
            key = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            found[f"{key}.lora_A.weight"] = torch.randn(8, 576) * 0.05
            found[f"{key}.lora_B.weight"] = torch.randn(size, 8) * 0.1
    folder.mkdir()
    save_file(found, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 8, "lora_alpha": 16, "lora_dropout": 0.0}
    config |= {"bias": "none", "target_modules": ["q_proj", "v_proj"], "inference_mode": True}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
