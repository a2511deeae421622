"""One model as a provider lists it: what the Hub says in a page of `/api/models`, read once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from workspace.errors import Invalid

# What a page must be asked for, so that nothing has to be asked again for each model.
EXPAND = (
    "author", "config", "createdAt", "disabled", "downloads", "gated", "gguf", "lastModified", "library_name", "likes",
    "pipeline_tag", "private", "safetensors", "sha", "tags", "trendingScore",
)  # fmt: skip
FORMATS = ("safetensors", "gguf", "onnx", "pytorch", "mlx", "openvino", "tensorflow", "jax")
RELATIONS = ("adapter", "finetune", "merge", "quantized")
_QUANTIZED = ("gguf", "gptq", "awq", "exl2", "exl3", "fp8", "compressed-tensors", "bitsandbytes", "hqq", "aqlm", "mlx")
_BYTES = {"F64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2, "I16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1}
_NAMED_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])")
_KEY = re.compile(r"[0-9a-f]{24}")
# ISO 639-1; `it` and `no` are languages among tags, and nothing else.
LANGUAGE = re.compile(
    r"a[abefkmnrsvyz]|b[aeghimnors]|c[aehorsuvy]|d[aevz]|e[elnostu]|f[afijory]|g[adlnuv]|h[aeiortuyz]"
    r"|i[adegikostu]|j[av]|k[agijklmnorsuvwy]|l[abginotuv]|m[ghiklnrsty]|n[abdeglnorvy]|o[cjmrs]|p[ailst]|q[u]"
    r"|r[mnouw]|s[acdegiklmnoqrstuvw]|t[aeghiklnorstwy]|u[gkrz]|v[eio]|w[ao]|x[h]|y[io]|z[ahu]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A model of a list. `key` stays when it is renamed; what the list does not say is None or empty.

    `created` and `modified` are seconds since 1970, `weights` bytes, `gated` 0 for open, 1 for asking and 2 for asking
    a person. `base` is the model that it was made from, `relation` how (one of RELATIONS). Prices are what a million
    tokens cost where somebody serves it.
    """

    key: str
    id: str
    sha: str | None = None
    task: str | None = None
    library: str | None = None
    license: str | None = None
    type: str | None = None
    precision: str | None = None
    base: str | None = None
    relation: str | None = None
    downloads: int = 0
    likes: int = 0
    trending: int = 0
    created: int = 0
    modified: int = 0
    gated: int = 0
    parameters: int | None = None
    weights: int | None = None
    context: int | None = None
    input_price: float | None = None
    output_price: float | None = None
    formats: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Listed:
        """Read one entry of a list of the Hub. Raises Invalid for what cannot be a model."""
        key, name = told.get("_id"), told.get("id")
        if not isinstance(key, str) or not _KEY.fullmatch(key) or not isinstance(name, str) or not name:
            raise Invalid(f"no model of a list: {str(dict(told))[:120]}", hint="each has `_id` and `id`")
        tags = tuple(tag for tag in _list(told.get("tags")) if isinstance(tag, str))
        known = _KnownTags.of(tags)
        gguf, tensors, config = (_mapping(told.get(part)) for part in ("gguf", "safetensors", "config"))
        by_type = {str(kind): _number(count) or 0 for kind, count in _mapping(tensors.get("parameters")).items()}
        precision = known.quantization or max(by_type, key=lambda kind: by_type[kind], default=None)
        parameters = _number(tensors.get("total")) or sum(by_type.values()) or _number(gguf.get("total"))
        stored = sum(count * _BYTES.get(kind, 2) for kind, count in by_type.items())
        return cls(
            key=key,
            id=name,
            sha=_text(told.get("sha")),
            task=_text(told.get("pipeline_tag")),
            library=_text(told.get("library_name")),
            license=known.license,
            type=_text(config.get("model_type")) or _text(gguf.get("architecture")),
            precision=precision,
            base=known.base,
            relation=known.relation,
            downloads=_number(told.get("downloads")) or 0,
            likes=_number(told.get("likes")) or 0,
            trending=_number(told.get("trendingScore")) or 0,
            created=seconds(told.get("createdAt")) or int(key[:8], 16),
            modified=seconds(told.get("lastModified")),
            gated=_gate(told.get("gated")),
            parameters=parameters or named_parameters(name),
            weights=stored or _number(gguf.get("totalFileSize")),
            context=_number(gguf.get("context_length")) or _number(config.get("max_position_embeddings")),
            formats=known.formats,
            languages=known.languages,
            tags=tags,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _KnownTags:
    """What tags say that has a place of its own."""

    license: str | None
    base: str | None
    relation: str | None
    quantization: str | None
    formats: tuple[str, ...]
    languages: tuple[str, ...]

    @classmethod
    def of(cls, tags: Iterable[str]) -> _KnownTags:
        licenses, bases, languages, formats, quantized = [], [], [], [], []
        for tag in tags:
            kind, colon, rest = tag.partition(":")
            if colon and kind == "license":
                licenses.append(rest)
            elif colon and kind == "base_model":
                bases.append(rest)
            elif LANGUAGE.fullmatch(tag):
                languages.append(tag)
            if (word := tag.lower()) in FORMATS:
                formats.append(word)
            if word in _QUANTIZED:
                quantized.append(word)
        related = [rest.partition(":") for rest in bases if rest.partition(":")[0] in RELATIONS]
        plain = [rest for rest in bases if rest.partition(":")[0] not in RELATIONS]
        return cls(
            license=licenses[0] if licenses else None,
            base=related[0][2] if related else plain[0] if plain else None,
            relation=related[0][0] if related else "finetune" if plain else None,
            quantization=quantized[0] if quantized else None,
            formats=tuple(formats),
            languages=tuple(languages),
        )


def named_parameters(name: str) -> int | None:
    """Return how many parameters a name claims.

    >>> named_parameters("acme/mix-8x7b-chat"), named_parameters("acme/tiny-0.5B"), named_parameters("acme/gpt2")
    (56000000000, 500000000, None)
    """
    found = _NAMED_SIZE.search(name.rpartition("/")[2].lower())
    if found is None:
        return None
    experts, size, unit = found.groups()
    count = int(experts or 1) * float(size) * (1e9 if unit == "b" else 1e6)
    return int(count) if count <= 1e13 else None


def seconds(time: object) -> int:
    """Return a time of the Hub (`2026-05-07T10:00:00.000Z`) in seconds since 1970, 0 for none."""
    if not isinstance(time, str):
        return 0
    try:
        read = datetime.fromisoformat(time)
    except ValueError:
        return 0
    return max(0, int((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()))


def _gate(value: object) -> int:
    if value in (False, None):
        return 0
    return 2 if value == "manual" else 1


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**62:
        return None
    return int(value)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
