"""From a config.json to a model's shape: which layers there are, of which kind, and how large."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalog.fit import feedforward, mixers
from catalog.fit.feedforward import Feeding
from catalog.fit.keys import Keys
from catalog.fit.mixers import Mixing
from catalog.fit.shape import Layer, Shape
from workspace.errors import Invalid

ENCODERS = frozenset({"bert", "roberta", "xlm-roberta", "electra", "camembert", "distilbert"})
POSITIONED = frozenset({"gpt2", "gpt_bigcode", "opt"}) | ENCODERS  # positions are a matrix of numbers
TIED = frozenset(
    {"gemma", "gemma2", "gemma3_text", "gemma4_text", "gpt2", "gpt_bigcode", "bloom", "opt", "mamba", "falcon"}
)
CENTRED = POSITIONED | {"gpt_neox", "phi", "bloom", "falcon", "starcoder2", "nemotron"}  # norms with a bias
SANDWICHED = frozenset({"gemma2", "gemma3_text", "gemma4_text"})  # norms before and after both parts
PARALLEL = frozenset({"phi", "gpt_neox", "falcon"})
OLMO = frozenset({"olmo"})  # norms without numbers
MOST_LAYERS = 4096

_PATTERN = {"M": "mamba2", "*": "attention_alone", "-": "mlp", "E": "moe"}
_BLOCKS = {"mamba": "mamba2", "attention": "attention_alone"}


def shape(config: Mapping[str, Any]) -> Shape:
    """Return what a configuration describes; Invalid where it is of something else.

    >>> shape({"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    ...        "intermediate_size": 128, "vocab_size": 1000}).parameters
    210240
    """
    keys = Keys(config)
    hidden, vocabulary = keys.needed("hidden"), keys.number("vocabulary")
    layers = tuple(_layer(keys, number, kind) for number, kind in enumerate(_kinds(keys)))
    generates = keys.family not in ENCODERS and bool(vocabulary)
    tied = keys.flag("tie_word_embeddings", keys.family in TIED)
    embedding = vocabulary * hidden
    return Shape(
        family=keys.family,
        hidden=hidden,
        vocabulary=vocabulary,
        layers=layers,
        embedding=embedding,
        head=0 if tied or not generates else embedding + vocabulary * (keys.family == "phi"),
        extra=_extra(keys),
        context=keys.number("context"),
        dtype=_dtype(keys),
        quantization=_quantization(keys),
        spared=_spares(keys),
        generates=generates,
        parallel=keys.family in PARALLEL,
        norm="layer" if keys.family in CENTRED else "gemma" if keys.family.startswith("gemma") else "root",
        drops=any(_share(keys, name) for name in ("attn_pdrop", "attention_probs_dropout_prob", "attention_dropout")),
        unknown=_unknown(keys),
    )


def _share(keys: Keys, name: str) -> bool:
    """Whether a share is more than nothing; GPT-2 and BERT have a tenth where their files are silent."""
    silent = {"gpt2": "attn_pdrop", **dict.fromkeys(ENCODERS, "attention_probs_dropout_prob")}.get(keys.family)
    found = keys.get(name)
    return bool(found) if found is not None else name == silent


def _kinds(keys: Keys) -> list[str]:
    """Name the kind of each layer."""
    said = keys.listed("layer_types") or keys.listed("layers_block_type")
    count = keys.number("layers") or len(said) or keys.needed("layers")
    if count > MOST_LAYERS:
        raise Invalid(f"config.json says {count:,} layers")
    if isinstance(pattern := keys.get("hybrid_override_pattern"), str):
        return [_PATTERN.get(each, "attention_alone") for each in pattern]
    if said and all(isinstance(each, str) for each in said):
        words = _BLOCKS if keys.family == "nemotron_h" else {}
        return [words.get(each, each) for each in (str(said[number % len(said)]) for number in range(count))]
    if keys.family in ("mamba", "falcon_mamba"):
        return ["mamba"] * count
    if keys.family == "mamba2":
        return ["mamba2"] * count
    if isinstance(linear := keys.get("linear_attn_config"), dict):
        full = set(linear.get("full_attn_layers") or ())
        return ["latent_attention" if number in full else "delta_channels" for number in range(1, count + 1)]
    if every := keys.number("full_attention_interval"):
        return ["full_attention" if (number + 1) % every == 0 else "linear_attention" for number in range(count)]
    return [_by_window(keys, number) for number in range(count)]


def _by_window(keys: Keys, number: int) -> str:
    if not keys.number("sliding_window") or keys.get("use_sliding_window") is False:
        return "full_attention"
    if pattern := keys.listed("hybrid_layer_pattern"):
        return "sliding_attention" if pattern[number % len(pattern)] else "full_attention"
    if pattern := keys.listed("layer_attention_type"):
        return str(pattern[number % len(pattern)])
    every = keys.number("sliding_window_pattern", 2 if keys.family == "gemma2" else 0)
    if every:
        return "full_attention" if (number + 1) % every == 0 else "sliding_attention"
    if keys.family.startswith("qwen2"):
        return "full_attention" if number < keys.number("max_window_layers") else "sliding_attention"
    return "sliding_attention"


def _layer(keys: Keys, number: int, kind: str) -> Layer:
    mixing, feeding = _mixing(keys, number, kind), _feeding(keys, number, kind)
    hidden = keys.needed("hidden")
    normings = _norms(keys, mixing, feeding)
    norms = 0 if keys.family in OLMO else hidden * normings
    return Layer(
        mixer=mixing.mixer,
        linears=(*mixing.linears, *feeding.linears),
        heads=mixing.heads,
        query=mixing.query,
        key_value=mixing.key_value,
        feedforward=feeding.width,
        kept=feeding.kept,
        scanned=mixing.scanned,
        cached=0 if keys.family in ENCODERS else mixing.cached,
        window=mixing.window,
        state=mixing.state,
        state_wide=mixing.state_wide,
        norms=mixing.norms + norms * (2 if keys.family in CENTRED else 1),
        normed=mixing.normed,
        normings=normings,
        others=mixing.others + feeding.others,
    )


def _norms(keys: Keys, mixing: Mixing, feeding: Feeding) -> int:
    if keys.family == "gemma4_text" and feeding.others:
        return 7
    if keys.family in SANDWICHED:
        return 4
    return 1 if keys.family in ("phi", "falcon") or mixing.mixer == "none" or not feeding.linears else 2


def _mixing(keys: Keys, number: int, kind: str) -> Mixing:
    match kind:
        case "mamba":
            return mixers.selective(keys)
        case "mamba2":
            return mixers.selective_heads(keys)
        case "linear_attention":
            return mixers.delta(keys)
        case "delta_channels":
            return mixers.delta_channels(keys)
        case "mlp" | "moe":
            return Mixing(mixer="none")
    if keys.number("kv_lora_rank") and keys.number("qk_rope_head_dim"):
        said = keys.listed("indexer_types")
        return mixers.latent(keys, indexes=number >= len(said) or said[number] != "shared")
    if said_here := feedforward.block(keys, number, "attention"):
        shared = said_here.get("n_heads_in_group")
        if said_here.get("no_op") or not isinstance(shared, int) or shared < 1:
            return Mixing(mixer="none")
        return mixers.attention(keys, 0, shared=shared)
    chunk = keys.number("attention_chunk_size")
    sliding = kind in ("sliding_attention", "chunked_attention")
    return mixers.attention(keys, (keys.number("sliding_window") or chunk) if sliding else 0)


def _feeding(keys: Keys, number: int, kind: str) -> Feeding:
    if kind in ("mamba", "mamba2", "attention_alone"):
        return Feeding()
    if kind == "moe" or (kind != "mlp" and feedforward.is_sparse(keys, number)):
        return feedforward.sparse(keys)
    return feedforward.dense(keys, number)


def _extra(keys: Keys) -> int:
    """Numbers that are in no layer: the last norm, positions, an encoder's pooler."""
    hidden = keys.needed("hidden")
    found = 0 if keys.family in OLMO else hidden * (2 if keys.family in CENTRED else 1)
    if keys.family in POSITIONED:
        found += (keys.number("context") + (2 if keys.family == "opt" else 0)) * hidden
    if keys.family in ENCODERS:
        found += keys.number("type_vocab_size") * hidden + hidden * hidden + hidden
    return found + 2 * hidden * (keys.family == "bloom")


def _dtype(keys: Keys) -> str:
    said = str(keys.get("dtype") or keys.get("torch_dtype") or keys.outer.get("torch_dtype") or "")
    said = said.removeprefix("torch.")
    return said if said in ("float32", "float16", "bfloat16") else "float32" if keys.family in ENCODERS else "bfloat16"


def _quantization(keys: Keys) -> str:
    """Return the method that weights were published with, by our names; empty for none."""
    said = keys.get("quantization_config")
    if not isinstance(said, dict):
        return ""
    method = str(said.get("quant_method") or said.get("quant_algo") or "").lower()
    words = str(said).lower()
    if "mxfp4" in words:
        return "mxfp4"
    if "nvfp4" in words:
        return "nvfp4"
    if method == "bitsandbytes":
        return "nf4" if said.get("load_in_4bit") else "int8"
    if method in ("awq", "gptq"):
        return method
    bits = said.get("bits") or (8 if "fp8" in words or "num_bits': 8" in words else 4)
    return "fp8" if bits == 8 else "awq"


def _spares(keys: Keys) -> bool:
    """Whether all but experts stays as it was when the weights were quantized."""
    said = keys.get("quantization_config")
    listed = (said.get("modules_to_not_convert") or said.get("ignore") or ()) if isinstance(said, dict) else ()
    return bool(keys.number("experts")) and any("self_attn" in str(each) for each in listed)


def _unknown(keys: Keys) -> tuple[str, ...]:
    """Name what counts as numbers of the model and is not reckoned here."""
    outside = ("vision_config", "audio_config", "speech_config", "num_nextn_predict_layers", "mtp_num_hidden_layers")
    inside = ("compress_ratios", "hidden_size_per_layer_input", "encoder_layers", "is_encoder_decoder")
    return tuple(name for name in (*outside, *inside) if keys.get(name))
