"""A model as one GGUF file for llama.cpp: weights, tokenizer and chat template, by the writer of the package `gguf`.

Models built like Llama, Mistral, Qwen2 or Qwen3 with a byte-level BPE tokenizer are written here; for all others there
is llama.cpp's own convert_hf_to_gguf.py. Whether the file is right is not believed: `llamacpp_ears` listens to it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from workspace.errors import Invalid, MissingExtra

Numbers = Literal["f32", "f16", "bf16", "q8_0"]

# What transformers calls a model, what llama.cpp calls it, and whether rows of its queries and keys are interleaved.
ARCHITECTURES: Mapping[str, tuple[str, bool]] = {
    "LlamaForCausalLM": ("llama", True),
    "MistralForCausalLM": ("llama", True),
    "Qwen2ForCausalLM": ("qwen2", False),
    "Qwen3ForCausalLM": ("qwen3", False),
}
_NORMAL, _CONTROL, _USER = 1, 3, 4  # kinds of tokens
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
_QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A GGUF file: how many tensors, in which numbers, how many bytes."""

    file: Path
    architecture: str
    numbers: Numbers
    tensors: int
    size: int


def refusal(folder: Path) -> str | None:
    """Return why a model cannot be written here, None where it can."""
    config = _json(folder / "config.json")
    built = str((config.get("architectures") or [""])[0])
    if built not in ARCHITECTURES:
        return f"a {built or 'model of no kind'} is not written here"
    if (scaling := _rope(config)["rope_type"]) not in ("default", "linear"):
        return f"positions scaled by {scaling!r} are not written here"
    try:
        _pre(_json(folder / "tokenizer.json"))
    except Invalid as error:
        return str(error)
    return None


def write(folder: Path, into: Path, *, numbers: Numbers = "f16", name: str = "") -> Written:
    """Write the model of a folder as one file. Raises Invalid for what cannot be written, with what to do instead."""
    try:
        import gguf
    except ImportError:
        raise MissingExtra("GGUF files need the package gguf", hint="pip install 'studiolo[torch]'") from None
    if why := refusal(folder):
        raise Invalid(why, hint="llama.cpp's convert_hf_to_gguf.py knows more: --converter PATH")
    config = _json(folder / "config.json")
    built, interleaved = ARCHITECTURES[config["architectures"][0]]
    kind = {"f32": gguf.GGMLQuantizationType.F32, "f16": gguf.GGMLQuantizationType.F16,
            "bf16": gguf.GGMLQuantizationType.BF16, "q8_0": gguf.GGMLQuantizationType.Q8_0}[numbers]  # fmt: skip
    into.parent.mkdir(parents=True, exist_ok=True)
    handle, made = tempfile.mkstemp(dir=into.parent, prefix=f".{into.name}-")
    os.close(handle)
    try:
        writer = gguf.GGUFWriter(made, built, use_temp_file=True)
        _tell_model(writer, config, name or folder.name, kind)
        _tell_tokenizer(writer, folder, config)
        tensors = _tell_weights(writer, folder, config, interleaved=interleaved, kind=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        Path(made).replace(into)
    finally:
        Path(made).unlink(missing_ok=True)
    into.chmod(0o600)
    return Written(file=into, architecture=built, numbers=numbers, tensors=tensors, size=into.stat().st_size)


def _tell_model(writer: Any, config: Mapping[str, Any], name: str, kind: Any) -> None:
    import gguf

    heads = int(config["num_attention_heads"])
    width = int(config.get("head_dim") or config["hidden_size"] // heads)
    rope = _rope(config)
    files = {"F32": gguf.LlamaFileType.ALL_F32, "F16": gguf.LlamaFileType.MOSTLY_F16,
             "BF16": gguf.LlamaFileType.MOSTLY_BF16, "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0}  # fmt: skip
    writer.add_type("model")
    writer.add_name(name)
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0))
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_vocab_size(int(config["vocab_size"]))
    writer.add_file_type(files[kind.name])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _tell_tokenizer(writer: Any, folder: Path, config: Mapping[str, Any]) -> None:
    from transformers import AutoTokenizer

    told = _json(folder / "tokenizer.json")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    words, kinds = _words(told, int(config["vocab_size"]))
    merges = [each if isinstance(each, str) else " ".join(each) for each in told["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre(told))
    writer.add_token_list(words)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    for token, add in (("bos", writer.add_bos_token_id), ("eos", writer.add_eos_token_id),
                       ("pad", writer.add_pad_token_id), ("unk", writer.add_unk_token_id)):  # fmt: skip
        if (number := getattr(tokenizer, f"{token}_token_id")) is not None:
            add(number)
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    dressed = tokenizer("a")["input_ids"]
    writer.add_add_bos_token(len(dressed) > len(plain) and dressed[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(len(dressed) > len(plain) and dressed[-1] == tokenizer.eos_token_id)
    writer.add_add_space_prefix(False)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def _words(told: Mapping[str, Any], size: int) -> tuple[list[str], list[int]]:
    """Return all tokens by their numbers, and what kind each is; numbers that nothing has get a name."""
    found = {number: (word, _NORMAL) for word, number in told["model"]["vocab"].items()}
    for each in told.get("added_tokens", ()):
        found[each["id"]] = (each["content"], _CONTROL if each.get("special") else _USER)
    size = max(size, max(found) + 1)
    named = [found.get(number, (f"[PAD{number}]", _USER)) for number in range(size)]
    return [word for word, _ in named], [kind for _, kind in named]


def _pre(told: Mapping[str, Any]) -> str:
    """Return what llama.cpp calls the way in which a tokenizer cuts texts before it joins letters."""
    if told.get("model", {}).get("type") != "BPE":
        kind = told.get("model", {}).get("type") or "no"
        raise Invalid(f"a tokenizer of type {kind} is not written here")
    if told["model"].get("byte_fallback") or told.get("normalizer") not in (None, {"type": "NFC"}):
        raise Invalid("a tokenizer that rewrites texts is not written here")
    cut = told.get("pre_tokenizer") or {}
    steps = cut.get("pretokenizers", [cut])
    kinds = [step.get("type") for step in steps]
    if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits") and steps[1].get("use_regex", True):
        return "smollm"
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Split", "ByteLevel"]:
        pattern = str(steps[0].get("pattern", {}).get("Regex", ""))
        for start, name in ((_LLAMA3, "llama-bpe"), (_QWEN2, "qwen2"), (_GPT2, "gpt-2")):
            if pattern.startswith(start):
                return name
    raise Invalid(f"a tokenizer that cuts texts by {', '.join(map(str, kinds))} is not written here")


def _tell_weights(writer: Any, folder: Path, config: Mapping[str, Any], *, interleaved: bool, kind: Any) -> int:
    import gguf

    names = gguf.get_tensor_name_map(
        {value: key for key, value in gguf.MODEL_ARCH_NAMES.items()}[writer.arch], int(config["num_hidden_layers"])
    )
    heads = int(config["num_attention_heads"])
    shared = int(config.get("num_key_value_heads") or heads)
    count = 0
    for key, tensor in _tensors(folder):
        if key.endswith("rotary_emb.inv_freq") or (key == "lm_head.weight" and config.get("tie_word_embeddings")):
            continue
        stem, _, end = key.rpartition(".")
        name = names.get_name(stem)
        if name is None:
            raise Invalid(f"llama.cpp has no place for {key!r}", hint="--converter PATH of convert_hf_to_gguf.py")
        if interleaved and stem.endswith(("q_proj", "k_proj")):
            tensor = _interleave(tensor, heads if stem.endswith("q_proj") else shared)
        # Vectors, and rows that no block of 32 numbers divides, stay as they are: llama.cpp wants them so.
        wanted = kind if tensor.ndim > 1 else gguf.GGMLQuantizationType.F32
        if wanted == gguf.GGMLQuantizationType.Q8_0 and tensor.shape[-1] % 32:
            wanted = gguf.GGMLQuantizationType.F16
        writer.add_tensor(f"{name}.{end}", gguf.quants.quantize(tensor, wanted), raw_dtype=wanted)
        count += 1
    return count


def _interleave(tensor: Any, heads: int) -> Any:
    """Return rows as llama.cpp turns them: neighbours together, where transformers has halves."""
    rows = tensor.shape[0]
    return tensor.reshape(heads, 2, rows // heads // 2, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)


def _tensors(folder: Path) -> Iterator[tuple[str, Any]]:
    from safetensors import safe_open

    for shard in sorted(folder.glob("*.safetensors")):
        with safe_open(shard, "pt") as file:
            for key in file.keys():  # noqa: SIM118  it is no mapping
                yield key, file.get_tensor(key).float().numpy()


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return {**found, "rope_type": found.get("rope_type") or found.get("type") or "default"}


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
