"""How layers let tokens meet: attention in its forms, and recurrence; what each keeps of a sequence."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.fit.keys import Keys
from catalog.fit.shape import Linear, Mixer

FUSED = frozenset({"phi3", "phi4", "glm", "glm4", "phi4_multimodal"})
BIASED = frozenset(
    {"qwen2", "qwen2_moe", "qwen2_vl_text", "qwen2_5_vl_text", "qwen2_vl", "qwen2_5_vl"}
)  # of q, k and v alone
NORMED = frozenset({
    "qwen3", "qwen3_moe", "qwen3_vl_text", "qwen3_vl_moe_text", "qwen3_5_text", "qwen3_5_moe_text", "qwen3_next",
    "gemma3_text", "gemma3", "gemma4_text", "gemma3n_text",
})  # fmt: skip
WHOLE_NORM = frozenset({"olmo2", "olmo3", "minimax_m2"})  # one over all heads


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixing:
    """One layer's way: as in `Layer`."""

    mixer: Mixer
    linears: tuple[Linear, ...] = ()
    heads: int = 0
    query: int = 0
    key_value: int = 0
    cached: int = 0
    window: int = 0
    state: int = 0
    state_wide: int = 0
    norms: int = 0
    normed: int = 0
    scanned: int = 0
    others: int = 0


def attention(keys: Keys, window: int, *, shared: int = 0) -> Mixing:
    """Attention with as many heads for keys and values as for queries, fewer, or one."""
    hidden, heads = keys.needed("hidden"), keys.needed("heads")
    single = 1 if keys.flag("multi_query") else heads
    alike = heads // shared if shared else keys.number("key_value_heads", single)
    width = keys.number("head_dim") or hidden // heads
    values = keys.number("v_head_dim") or width
    if window and keys.number("swa_num_key_value_heads"):
        heads, alike = keys.number("swa_num_attention_heads", heads), keys.number("swa_num_key_value_heads")
        width, values = keys.number("swa_head_dim", width), keys.number("swa_v_head_dim", values)
    same = False
    if keys.family == "gemma4_text" and not window:
        width = values = keys.number("global_head_dim", width)
        if keys.flag("attention_k_eq_v"):
            alike, same = keys.number("num_global_key_value_heads", alike), True
    query, keyed, valued, mixed = heads * width, alike * width, alike * values, heads * values
    gate = 2 if keys.flag("attn_output_gate") or keys.family == "qwen3_next" else 1
    names = _names(keys)
    inside = keys.flag("attention_bias") or keys.flag("qkv_bias") or keys.family in BIASED or names.biased
    outside = keys.flag("attention_out_bias", inside and keys.family not in BIASED and not keys.flag("qkv_bias"))
    parts: tuple[Linear, ...]
    if names.fused:
        parts = (Linear(name=names.fused, inputs=hidden, outputs=query + keyed + valued, bias=inside, reads="mixer"),)
    else:
        parts = (
            Linear(name=names.query, inputs=hidden, outputs=query * gate, bias=inside, reads="mixer"),
            Linear(name=names.key, inputs=hidden, outputs=keyed, bias=inside, reads="mixer"),
            *(() if same else (Linear(name=names.value, inputs=hidden, outputs=valued, bias=inside, reads="mixer"),)),
        )
    output = Linear(name=names.output, inputs=mixed, outputs=hidden, bias=outside, reads="mixed")
    norms = 2 * width if keys.family in NORMED or keys.get("qk_norm_type") == "per_head" else 0
    norms = query + keyed if keys.family in WHOLE_NORM else norms
    normed = query + keyed if norms else 0
    others = heads if keys.family == "gpt_oss" or (window and keys.flag("add_swa_attention_sink_bias")) else 0
    return Mixing(
        mixer="sliding" if window else "full", linears=(*parts, output), heads=heads, query=query,
        key_value=(keyed + valued) // 2, cached=keyed + valued, window=window, norms=norms, normed=normed,
        others=others,
    )  # fmt: skip


def latent(keys: Keys, *, indexes: bool = True) -> Mixing:
    """Multi-head latent attention (DeepSeek-V2): one small vector a token stands for all keys and values."""
    hidden, heads = keys.needed("hidden"), keys.needed("heads")
    compressed, turned = keys.needed("kv_lora_rank"), keys.number("qk_rope_head_dim")
    plain, values = keys.number("qk_nope_head_dim"), keys.number("v_head_dim")
    asked, query = keys.number("q_lora_rank"), heads * (plain + turned)
    bias = keys.flag("attention_bias")
    down = compressed + turned
    parts = [Linear(name="q_proj", inputs=hidden, outputs=query, reads="mixer")]
    if asked:
        parts = [
            Linear(name="q_a_proj", inputs=hidden, outputs=asked, bias=bias, reads="mixer"),
            Linear(name="q_b_proj", inputs=asked, outputs=query, reads="asked"),
        ]
    parts += [
        Linear(name="kv_a_proj_with_mqa", inputs=hidden, outputs=down, bias=bias, reads="mixer"),
        Linear(name="kv_b_proj", inputs=compressed, outputs=heads * (plain + values), reads="latent"),
        Linear(name="o_proj", inputs=heads * values, outputs=hidden, bias=bias, reads="mixed"),
    ]
    norms, indexed = asked + compressed, 0
    if indexes and (
        finding := keys.number("index_head_dim")
    ):  # sparse attention looks tokens up by a small key of each
        parts += [
            Linear(name="wq_b", inputs=asked, outputs=keys.number("index_n_heads") * finding, reads="asked"),
            Linear(name="wk", inputs=hidden, outputs=finding, reads="mixer"),
            Linear(name="weights_proj", inputs=hidden, outputs=keys.number("index_n_heads"), reads="mixer"),
        ]
        norms, indexed = norms + 2 * finding, finding
    return Mixing(
        mixer="latent", linears=tuple(parts), heads=heads, query=query,
        key_value=heads * (plain + turned + values) // 2, cached=down + indexed, norms=norms,
        normed=asked + compressed,
    )  # fmt: skip


def selective(keys: Keys) -> Mixing:
    """Mamba: a state of its own for each channel, and the last few inputs of a convolution."""
    hidden, state, kernel = keys.needed("hidden"), keys.number("state_size", 16), keys.number("conv_kernel", 4)
    inner = keys.number("feedforward") or keys.number("expand", 2) * hidden
    rank = keys.number("time_step_rank") or -(-hidden // 16)
    bias = keys.flag("use_bias")
    parts = (
        Linear(name="in_proj", inputs=hidden, outputs=2 * inner, bias=bias, reads="mixer"),
        Linear(name="x_proj", inputs=inner, outputs=rank + 2 * state, reads="convolved"),
        Linear(name="dt_proj", inputs=rank, outputs=inner, bias=True, reads="steps"),
        Linear(name="out_proj", inputs=inner, outputs=hidden, bias=bias, reads="mixed"),
    )
    others = inner * kernel + inner * keys.flag("use_conv_bias", True) + inner * state + inner
    return Mixing(
        mixer="recurrent",
        linears=parts,
        query=inner,
        state=inner * (state + kernel),
        scanned=inner * state,
        others=others,
    )


def selective_heads(keys: Keys) -> Mixing:
    """Mamba 2, also in Nemotron-H: heads share the pace at which they forget."""
    hidden, kernel = keys.needed("hidden"), keys.number("conv_kernel", 4)
    state = keys.number("ssm_state_size") or keys.number("state_size", 128)
    heads = keys.number("mamba_num_heads") or keys.needed("num_heads")
    groups = keys.number("n_groups", 8)
    inner = heads * (keys.number("mamba_head_dim") or keys.number("head_dim", 64))
    convolved = inner + 2 * groups * state
    bias = keys.flag("use_bias") or keys.flag("mamba_proj_bias")
    parts = (
        Linear(name="in_proj", inputs=hidden, outputs=inner + convolved + heads, bias=bias, reads="mixer"),
        Linear(name="out_proj", inputs=inner, outputs=hidden, bias=bias, reads="mixed"),
    )
    others = convolved * kernel + convolved * keys.flag("use_conv_bias", True) + 3 * heads + inner
    wide = keys.get("mamba_ssm_cache_dtype") == "float32"
    kept, window = inner * state, convolved * kernel
    return Mixing(
        mixer="recurrent", linears=parts, query=inner, others=others,
        state=window + kept * (not wide), state_wide=kept * wide,
    )  # fmt: skip


def delta(keys: Keys) -> Mixing:
    """Gated delta rule (Qwen3-Next, Qwen3.5): a matrix for each head, in float32."""
    hidden, kernel = keys.needed("hidden"), keys.number("linear_conv_kernel_dim", 4)
    heads, values = keys.needed("linear_num_value_heads"), keys.needed("linear_value_head_dim")
    keyed, valued = keys.needed("linear_num_key_heads") * keys.needed("linear_key_head_dim"), heads * values
    convolved = 2 * keyed + valued
    parts = (
        Linear(name="in_proj_qkv", inputs=hidden, outputs=convolved, reads="mixer"),
        Linear(name="in_proj_z", inputs=hidden, outputs=valued, reads="mixer"),
        Linear(name="in_proj_b", inputs=hidden, outputs=heads, reads="mixer"),
        Linear(name="in_proj_a", inputs=hidden, outputs=heads, reads="mixer"),
        Linear(name="out_proj", inputs=valued, outputs=hidden, reads="mixed"),
    )
    matrix = heads * keys.needed("linear_key_head_dim") * values
    return Mixing(
        mixer="recurrent", linears=parts, query=valued, others=convolved * kernel + 2 * heads + values,
        state=convolved * kernel, state_wide=matrix,
    )  # fmt: skip


def delta_channels(keys: Keys) -> Mixing:
    """Kimi's delta attention: as the gated delta rule, each channel forgetting at a pace of its own."""
    hidden, said = keys.needed("hidden"), keys.get("linear_attn_config") or {}
    heads, width = int(said.get("num_heads", 0)), int(said.get("head_dim", 0))
    kernel, inner = int(said.get("short_conv_kernel_size", 4)), heads * width
    parts = (
        *(Linear(name=f"{each}_proj", inputs=hidden, outputs=inner, reads="mixer") for each in "qkv"),
        Linear(name="f_a_proj", inputs=hidden, outputs=width, reads="mixer"),
        Linear(name="f_b_proj", inputs=width, outputs=inner, reads="forgetting"),
        Linear(name="b_proj", inputs=hidden, outputs=heads, reads="mixer"),
        Linear(name="g_a_proj", inputs=hidden, outputs=width, reads="mixer"),
        Linear(name="g_b_proj", inputs=width, outputs=inner, reads="gating"),
        Linear(name="o_proj", inputs=inner, outputs=hidden, reads="mixed"),
    )
    return Mixing(
        mixer="recurrent", linears=parts, query=inner, others=3 * inner * kernel + inner + heads + width,
        state=3 * inner * kernel, state_wide=heads * width * width,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Names:
    query: str = "q_proj"
    key: str = "k_proj"
    value: str = "v_proj"
    output: str = "o_proj"
    fused: str = ""
    biased: bool = False


_FAMILIES = {
    "gpt2": _Names(output="c_proj", fused="c_attn", biased=True),
    "gpt_bigcode": _Names(output="c_proj", fused="c_attn", biased=True),
    "gpt_neox": _Names(output="dense", fused="query_key_value", biased=True),
    "bloom": _Names(output="dense", fused="query_key_value", biased=True),
    "falcon": _Names(output="dense", fused="query_key_value"),
    "phi": _Names(output="dense", biased=True),
    "opt": _Names(output="out_proj", biased=True),
    "starcoder2": _Names(biased=True),
    **{
        each: _Names("query", "key", "value", "dense", biased=True)
        for each in ("bert", "roberta", "xlm-roberta", "electra", "camembert", "vit")
    },
    "distilbert": _Names("q_lin", "k_lin", "v_lin", "out_lin", biased=True),
}


def _names(keys: Keys) -> _Names:
    if keys.family in FUSED:
        return _Names(fused="qkv_proj")
    return _FAMILIES.get(keys.family, _Names())
