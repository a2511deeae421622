"""How many bytes a number takes, in each format that weights are kept in."""

from __future__ import annotations

from collections.abc import Mapping

from workspace.errors import Invalid, did_you_mean

# Bits of a number, by the names that torch, safetensors and GGUF give the formats.
DTYPES: Mapping[str, float] = {
    "float64": 64, "float32": 32, "float16": 16, "bfloat16": 16, "float8_e4m3fn": 8, "float8_e5m2": 8,
    "int64": 64, "int32": 32, "int16": 16, "int8": 8, "uint8": 8, "bool": 8,
}  # fmt: skip
SAFETENSORS: Mapping[str, str] = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "int64", "U32": "int32", "U16": "int16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
# GGUF's types by their number in the file: name, numbers in a block, bytes of a block (ggml.h, ggml-common.h).
GGUF: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip
# Bits of a weight with its scales, of the matrices that a method quantizes. docs/fit.md says where each comes from.
QUANTIZATIONS: Mapping[str, float] = {
    "int8": 8 + 32 / 4096,  # a float32 scale a row (LLM.int8)
    "nf4": 4 + 8 / 64 + 32 / (64 * 256),  # QLoRA: blocks of 64, their scales quantized once more
    "fp4": 4 + 8 / 64 + 32 / (64 * 256),
    "fp8": 8 + 32 / (128 * 128),  # a float32 scale for a block of 128 by 128
    "mxfp4": 4 + 8 / 32,  # OCP microscaling: a byte for 32 numbers
    "nvfp4": 4 + 8 / 16,  # a byte for 16 numbers
    "awq": 4 + (16 + 4) / 128,  # groups of 128: a float16 scale, four bits of zero point
    "gptq": 4 + (16 + 4) / 128,
    "q2_k": 84 * 8 / 256, "q3_k_m": 3.91, "q4_0": 4.5, "q4_1": 5.0, "q4_k_m": 4.85, "q5_0": 5.5, "q5_k_m": 5.69,
    "q6_k": 210 * 8 / 256, "q8_0": 8.5, "iq4_xs": 136 * 8 / 256,
}  # fmt: skip
# GGUF quantizes embeddings and output too; the others leave them as they are.
WHOLE = frozenset(name for name in QUANTIZATIONS if name.startswith(("q", "iq")))


def bytes_of(dtype: str) -> float:
    """Return the bytes of a number: `bytes_of("bfloat16") == 2`.

    >>> bytes_of("float8_e4m3fn")
    1.0
    """
    if dtype not in DTYPES:
        raise Invalid(f"no number format {dtype!r}", hint=did_you_mean(dtype, DTYPES))
    return DTYPES[dtype] / 8


def bits_of(quantization: str) -> float:
    """Return the bits of a quantized weight with its share of the scales.

    >>> bits_of("Q4_0")
    4.5
    """
    if (name := quantization.lower()) not in QUANTIZATIONS:
        raise Invalid(f"no quantization {quantization!r}", hint=did_you_mean(name, QUANTIZATIONS))
    return QUANTIZATIONS[name]


def is_whole(quantization: str) -> bool:
    """Whether embeddings and output are quantized too."""
    return quantization.lower() in WHOLE
