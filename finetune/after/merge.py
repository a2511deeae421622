"""An adapter becomes part of its base: shard by shard, so that memory holds one file of weights and no model.

LoRA, rank-stabilised LoRA and DoRA are added in float32 and rounded once, to the numbers that the base has.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workspace.errors import Invalid, NotFound

Dtype = Literal["float32", "bfloat16", "float16"]
Factors = dict[str, Any]  # of one product of the model: lora_A, lora_B and, of DoRA, the lengths

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_KEY = re.compile(r"base_model\.model\.(.+?)\.(lora_A|lora_B|lora_magnitude_vector)(?:\.default)?(?:\.weight)?")
_SAVED = re.compile(r"base_model\.model\.(.+?)(?:\.modules_to_save)?(?:\.default)?\.(weight|bias)")
_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "tokenizer.model", "chat_template.jinja",
)  # fmt: skip
# What this merge does not do; PEFT does, with the whole model in memory.
_OTHER = ("layer_replication", "alora_invocation_tokens", "trainable_token_indices", "lora_bias", "target_parameters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A merged model: where it is, in which numbers, and how many of its tensors the adapter has changed."""

    folder: Path
    dtype: str
    changed: int
    tensors: int


class _Change:
    """What an adapter does to its base; `left` is what of it has found no place yet, `dtypes` what was written."""

    def __init__(self, adapter: Path) -> None:
        self._config = _config(adapter)
        self._factors, self._whole = _read(adapter)
        self.left = {*self._factors, *self._whole}
        self.count = len(self.left)
        self.dtypes: set[str] = set()

    def applied(self, key: str, tensor: Any) -> Any:
        """Return the tensor as the adapter makes it."""
        name = key.removesuffix(".weight")
        if key in self._whole:
            self.left.discard(key)
            return self._whole[key]
        if name == key or name not in self._factors:
            return tensor
        self.left.discard(name)
        return _changed(key, tensor, self._factors[name], _scaling(self._config, name, self._factors[name]))


def merge(base: Path, adapter: Path, into: Path, *, dtype: Dtype | None = None) -> Merged:
    """Write the model that a base and an adapter make together, with the tokenizer that the adapter was trained with.

    Raises Invalid where the adapter is not one of this base. The model appears whole or not at all.
    """
    change = _Change(adapter)
    into.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=into.parent, prefix=f".{into.name}-"))
    try:
        _copy_words(base, adapter, made)
        tensors = sum(_merge_shard(shard, made, change, dtype) for shard in _shards(base))
        if change.left:
            what = f"{min(change.left)!r} ({len(change.left)} in all)"
            hint = "it was trained on another model"
            raise Invalid(f"the adapter changes {what}, which {base.name} does not have", hint=hint)
        if dtype:
            _rename_dtype(made, dtype)
        shutil.rmtree(into, ignore_errors=True)
        made.rename(into)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return Merged(folder=into, dtype=", ".join(sorted(change.dtypes)), changed=change.count, tensors=tensors)


def _config(adapter: Path) -> dict[str, Any]:
    if not (adapter / CONFIG).is_file():
        raise NotFound(f"no adapter in {str(adapter)!r}", hint=f"an adapter's folder has an {CONFIG}")
    config: dict[str, Any] = json.loads((adapter / CONFIG).read_text(encoding="utf-8"))
    if str(config.get("peft_type")).upper() != "LORA":
        raise Invalid(f"the adapter is a {config.get('peft_type')}", hint="LoRA, rsLoRA and DoRA can be merged")
    if odd := [name for name in _OTHER if config.get(name)]:
        raise Invalid(f"the adapter uses {odd[0]!r}, which this merge does not know")
    return config


def _read(adapter: Path) -> tuple[dict[str, Factors], dict[str, Any]]:
    """Return the factors by the product they change, and tensors that stand for the base's own."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = adapter / WEIGHTS
    if not path.is_file():
        raise NotFound(f"{str(adapter)!r} has no {WEIGHTS}", hint="adapters in pickles are not opened")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise Invalid(f"{path} cannot be read: {error}", hint="it was cut off, or is damaged") from None
    modules: dict[str, Factors] = {}
    whole: dict[str, Any] = {}
    for key, tensor in tensors.items():
        if matched := _KEY.fullmatch(key):
            modules.setdefault(matched[1], {})[matched[2]] = tensor.float()
        elif matched := _SAVED.fullmatch(key):
            whole[f"{matched[1]}.{matched[2]}"] = tensor
        else:
            raise Invalid(f"{path} holds {key!r}, which is no part of a LoRA adapter")
    if lone := [name for name, factors in modules.items() if not {"lora_A", "lora_B"} <= set(factors)]:
        raise Invalid(f"{path} lacks a factor of {lone[0]}")
    if not modules and not whole:
        raise Invalid(f"{path} is empty")
    return modules, whole


def _scaling(config: Mapping[str, Any], name: str, factors: Factors) -> float:
    rank = int(factors["lora_A"].shape[0])
    alpha = float(_by_pattern(config.get("alpha_pattern"), name) or config.get("lora_alpha") or rank)
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _by_pattern(pattern: Mapping[str, Any] | None, name: str) -> Any:
    return next((value for key, value in (pattern or {}).items() if re.fullmatch(rf"(.*\.)?{key}", name)), None)


def _shards(base: Path) -> list[Path]:
    found = sorted(base.glob("*.safetensors"))
    if not found:
        raise NotFound(f"{base.name} has no safetensors", hint="weights in pickles are not opened")
    return found


def _merge_shard(shard: Path, made: Path, change: _Change, dtype: Dtype | None) -> int:
    """Write one file of weights anew and return how many tensors it has."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    written: dict[str, Any] = {}
    with safe_open(shard, "pt") as file:
        told = file.metadata() or {"format": "pt"}
        for key in file.keys():  # noqa: SIM118  it is no mapping
            tensor = file.get_tensor(key)
            kind = getattr(torch, dtype) if dtype and tensor.is_floating_point() else tensor.dtype
            written[key] = change.applied(key, tensor).to(kind).contiguous()
            change.dtypes.add(str(kind).removeprefix("torch."))
    save_file(written, made / shard.name, metadata=told)
    return len(written)


def _changed(key: str, tensor: Any, factors: Factors, scaling: float) -> Any:
    """Return weight plus its change; of DoRA, each row brought to the length that was learned."""
    down, up = factors["lora_A"], factors["lora_B"]
    change = (up @ down) * scaling
    if change.shape != tensor.shape:
        if change.T.shape != tensor.shape:
            had, has = " x ".join(map(str, change.shape)), " x ".join(map(str, tensor.shape))
            raise Invalid(f"the adapter changes {key} as {had}, and the base has {has}", hint="it is another base's")
        change = change.T  # layers that keep their weights the other way round
    whole = tensor.float() + change
    if (length := factors.get("lora_magnitude_vector")) is None:
        return whole
    norm = whole.norm(dim=1)
    return (length.flatten() / norm)[:, None] * whole


def _copy_words(base: Path, adapter: Path, made: Path) -> None:
    """Copy all that is not weights; a tokenizer that came with the adapter is the one it was trained with."""
    for path in base.iterdir():
        if path.is_file() and path.suffix not in (".safetensors", ".bin", ".pt", ".md"):
            shutil.copyfile(path, made / path.name)
    for name in _TOKENIZER:
        if (adapter / name).is_file():
            shutil.copyfile(adapter / name, made / name)


def _rename_dtype(made: Path, dtype: Dtype) -> None:
    path = made / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    path.write_text(json.dumps({**config, "dtype": dtype}, indent=2) + "\n", encoding="utf-8")
