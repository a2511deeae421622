"""What training begins with: the base model, its tokenizer, and the adapter that learns beside it."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.language import lora
from finetune.language.spec import Adapter
from workspace.errors import Invalid, MissingExtra, NotFound, did_you_mean

if TYPE_CHECKING:
    from finetune.language.decided import Decided
    from finetune.language.given import Given

ADAPTER = "adapter_config.json"
# Files that come with a tokenizer; what is trained keeps them to the byte.
TOKENIZER = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template*", "vocab*", "merges.txt",
    "additional_chat_templates", "generation_config.json",
)  # fmt: skip


def tokenizer_of(given: Given) -> Any:
    """Return the base's tokenizer, with a token to pad with; raises where it is not that of the base."""
    from transformers import AutoTokenizer

    config = config_of(given.base)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            given.base, local_files_only=True, trust_remote_code=given.job.trusts_remote_code
        )
    except (OSError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0]
        raise Invalid(f"the tokenizer of {given.base_name} cannot be read: {first}") from None
    words = int((config.get("text_config") or config).get("vocab_size") or 0)
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if words and highest >= words:
        raise Invalid(
            f"the tokenizer has a token {highest}, and {given.base_name} knows {words}: it is another model's",
            hint="take the tokenizer files that came with the weights",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def config_of(base: Path) -> dict[str, Any]:
    """Return what a model says of itself."""
    if (base / ADAPTER).is_file():
        hint = "merge it first, and tune the whole: studiolo finetune merge"
        raise Invalid(f"{base.name!r} is an adapter, not a model", hint=hint)
    try:
        found: dict[str, Any] = json.loads((base / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(
            f"no model in {str(base)!r}", hint="a model's folder has a config.json and safetensors"
        ) from None
    except ValueError as error:
        raise Invalid(f"{base / 'config.json'} is not JSON: {error}") from None
    return found


def model_of(given: Given, decided: Decided) -> Any:
    """Return the base model, ready to learn: with an adapter, or as a whole."""
    import torch
    from transformers import AutoModelForCausalLM

    job = given.job
    if not list(given.base.glob("*.safetensors")):
        raise NotFound(f"{given.base_name} has no safetensors", hint="weights in pickles are not opened")
    whole = torch.float32 if job.is_full else getattr(torch, decided.precision)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            given.base, dtype=whole, local_files_only=True, attn_implementation="sdpa", use_safetensors=True,
            trust_remote_code=job.trusts_remote_code, quantization_config=_four_bits(job.adapter),
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise Invalid(f"{given.base_name} cannot be read: {str(error).splitlines()[0]}") from None
    model.config.use_cache = False
    return model if job.is_full else _with_adapter(model, given)


def save(model: Any, given: Given) -> None:
    """Write what was learnt: the adapter, or the whole model with the base's own tokenizer."""
    given.output.mkdir(parents=True, exist_ok=True)
    if given.job.is_full:
        kept = config_of(given.base)
        dtype = kept.get("dtype") or kept.get("torch_dtype")
        if dtype:
            import torch

            model = model.to(getattr(torch, str(dtype)))
        model.save_pretrained(given.output)
        for pattern in TOKENIZER:
            for path in given.base.glob(pattern):
                place = given.output / path.name
                shutil.copytree(path, place, dirs_exist_ok=True) if path.is_dir() else shutil.copyfile(path, place)
        return
    # DPO keeps the adapter as it was beside the one that learns: that one is called default.
    model.save_pretrained(given.output, save_embedding_layers=False, selected_adapters=["default"])
    path = given.output / ADAPTER
    config = json.loads(path.read_text(encoding="utf-8")) | {"base_model_name_or_path": given.base_name}
    path.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")


def _with_adapter(model: Any, given: Given) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model

    asked = given.job.adapter
    config = LoraConfig(
        r=asked.rank, lora_alpha=asked.scale, lora_dropout=asked.dropout, target_modules=_targets(model, asked),
        bias="none", use_dora=asked.kind == "dora", use_rslora=asked.kind == "rslora", task_type="CAUSAL_LM",
    )  # fmt: skip
    torch.manual_seed(given.job.seed)
    adapted = get_peft_model(model, config)
    lora.join(adapted)
    return adapted


def _targets(model: Any, asked: Adapter) -> list[str]:
    """Return the layers that get an adapter: those that are named, or every linear one but the head."""
    import torch

    head = model.get_output_embeddings()
    linear = {name for name, part in model.named_modules() if isinstance(part, torch.nn.Linear) and part is not head}
    known = {name.rpartition(".")[2] for name in linear}
    for name in asked.targets:
        if name.rpartition(".")[2] not in known:
            hint = did_you_mean(name.rpartition(".")[2], known)
            raise Invalid(f"the model has no linear layer {name!r} to adapt", hint=hint)
    return sorted(asked.targets or known)


def _four_bits(adapter: Adapter) -> Any:
    if adapter.kind != "qlora":
        return None
    import torch

    if not torch.cuda.is_available():
        raise Invalid(
            "qlora needs a CUDA GPU, and there is none here", hint="adapter.kind: lora trains on this machine"
        )
    try:
        importlib.import_module("bitsandbytes")
    except ImportError:
        raise MissingExtra("qlora needs bitsandbytes", hint="pip install bitsandbytes") from None
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )  # fmt: skip
