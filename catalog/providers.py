"""Whose models stand beside the Hub's: this workspace's, a folder's, a server's, a registry's, a price list's.

Each is a function that lists models in the catalog's own form; all of a list is taken anew each time, for it is short.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import httpx

from catalog.index.arriving import Arriving, Scope
from catalog.index.listed import Listed, named_parameters
from catalog.index.publish import Changes, publish
from workspace.errors import Invalid, NotFound, Unavailable
from workspace.home import Workspace

Kind = Literal["folder", "server", "mlflow", "prices"]
LOCAL = "local"
_WEIGHTS = (".safetensors", ".gguf")
_TIMEOUT = 30.0
_MILLION = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider that somebody has added: its name, what it is, and where: a folder, a file or an address."""

    name: str
    kind: Kind
    where: str

    def __post_init__(self) -> None:
        """Raise Invalid for a kind that nobody knows."""
        if self.kind not in get_args(Kind):
            raise Invalid(f"{self.kind!r} is no kind of provider", hint=f"one of {', '.join(get_args(Kind))}")

    def listed(self, token: str = "") -> list[Listed]:
        """Return its models. Raises NotFound or Unavailable where it cannot be read; `token` is a server's."""
        if self.kind == "server":
            return list(of_server(self.where, token))
        return list(_READ[self.kind](self.where))


def bring(folder: Path, models: list[Listed]) -> Changes:
    """Make a provider's models its newest snapshot."""
    with Arriving.open(folder, Scope(), complete=True, first="") as sync:
        sync.add(models, None)
        return publish(folder, sync, Scope(), complete=True)


def key_of(*names: str) -> str:
    """Return a key for what has none of its own."""
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:24]


def of_workspace(workspace: Workspace) -> Iterator[Listed]:
    """List the models of the workspace, the newest version of each."""
    for asset in workspace.assets.list("model"):
        told = asset.properties
        yield Listed(
            key=key_of(asset.name),
            id=asset.name,
            sha=asset.digest,
            task={"chat": "text-generation", "embedding": "sentence-similarity"}.get(
                str(told.get("task")), _word(told.get("task"))
            ),
            library=_word(told.get("library") or told.get("type")),
            license=_word(told.get("license")),
            type=_word(told.get("model_type")),
            precision=_word(told.get("dtype")),
            base=_word(told.get("base_model") or told.get("base")),
            created=int(asset.created_at),
            modified=int(asset.created_at),
            parameters=_count(told.get("parameters")),
            weights=asset.size,
            context=_count(told.get("context") or told.get("context_length")),
            tags=tuple(f"label:{label}" for label in asset.labels),
        )


def of_folder(where: str) -> Iterator[Listed]:
    """List the models in a folder: every folder below it that has a config.json, and every GGUF file."""
    root = Path(where).expanduser()
    if not root.is_dir():
        raise NotFound(f"no folder at {where!r}")
    for config in sorted(root.rglob("config.json")):
        try:
            told = json.loads(config.read_bytes())
        except ValueError:
            continue
        if isinstance(told, dict) and ("model_type" in told or "architectures" in told):
            yield _of_files(root, config.parent, [*config.parent.glob("*.safetensors")], told)
    for gguf in sorted(root.rglob("*.gguf")):
        yield _of_files(root, gguf, [gguf], {})


def _of_files(root: Path, place: Path, weights: list[Path], told: dict[str, Any]) -> Listed:
    name = place.relative_to(root).as_posix() if place != root else root.name
    kind = "gguf" if place.suffix == ".gguf" else "safetensors" if weights else ""
    return Listed(
        key=key_of(str(place.resolve())),
        id=name,
        task="text-generation" if "CausalLM" in str(told.get("architectures")) or kind == "gguf" else None,
        library="gguf" if kind == "gguf" else "transformers",
        type=_word(told.get("model_type")),
        precision="gguf" if kind == "gguf" else _word(told.get("dtype") or told.get("torch_dtype")),
        modified=int(max((file.stat().st_mtime for file in weights), default=place.stat().st_mtime)),
        parameters=named_parameters(name),
        weights=sum(file.stat().st_size for file in weights) or None,
        context=_count(told.get("max_position_embeddings")),
        formats=(kind,) if kind else (),
        tags=(kind,) if kind else (),
    )


def of_server(where: str, token: str = "") -> Iterator[Listed]:
    """List what an OpenAI-compatible server serves: its `/v1/models`."""
    address = where.rstrip("/").removesuffix("/models").removesuffix("/v1") + "/v1/models"
    try:
        answer = httpx.get(address, headers={"Authorization": f"Bearer {token}"} if token else {}, timeout=_TIMEOUT)
        answer.raise_for_status()
        told = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise Unavailable(f"{address} cannot be read: {why}", hint="check the address and its key") from None
    models = told.get("data") if isinstance(told, dict) else None
    for each in models if isinstance(models, list) else []:
        if isinstance(each, dict) and isinstance(each.get("id"), str):
            yield Listed(
                key=key_of(address, each["id"]), id=each["id"], task="text-generation", library="openai",
                created=_count(each.get("created")) or 0, parameters=named_parameters(each["id"]),
                context=_count(each.get("max_model_len") or each.get("context_length")),
                tags=(f"owner:{each['owned_by']}",) if isinstance(each.get("owned_by"), str) else (),
            )  # fmt: skip


def of_mlflow(where: str) -> Iterator[Listed]:
    """List the models that a registry of MLflow has."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(registry_uri=where, tracking_uri=where)
    token = None
    while token != "":
        try:
            page = client.search_registered_models(max_results=500, page_token=token)
        except MlflowException as error:
            told = " ".join(str(error).split())[:200]
            raise Unavailable(f"the registry at {where} cannot be read: {told}", hint="check its address") from None
        for each in page:
            yield Listed(
                key=key_of(where, each.name), id=each.name, library="mlflow",
                created=int((each.creation_timestamp or 0) / 1000),
                modified=int((each.last_updated_timestamp or 0) / 1000),
                tags=tuple(f"{name}:{value}" for name, value in {**each.tags, **each.aliases}.items()),
            )  # fmt: skip
        token = page.token or ""


def of_prices(where: str) -> Iterator[Listed]:
    """List hosted models with their prices: LiteLLM's price file, or rows with `model`, `input` and `output`.

    Rows name prices in dollars for a million tokens, in JSON; they may say `provider` and `context`.
    """
    try:
        told = json.loads(Path(where).expanduser().read_bytes())
    except OSError as error:
        raise NotFound(f"no price list at {where!r}: {error.strerror}") from None
    except ValueError:
        raise Invalid(f"{where} is no JSON", hint="a list of {model, input, output}, or LiteLLM's price file") from None
    if isinstance(told, dict):
        rows = [_of_litellm(name, each) for name, each in told.items() if isinstance(each, dict)]
    else:
        rows = [each for each in (told if isinstance(told, list) else []) if isinstance(each, dict)]
    for each in rows:
        if isinstance(each.get("model"), str):
            provider = _word(each.get("provider"))
            yield Listed(
                key=key_of(where, each["model"]), id=each["model"], task=_word(each.get("task")) or "text-generation",
                library="hosted", context=_count(each.get("context")), parameters=named_parameters(each["model"]),
                input_price=_price(each.get("input")), output_price=_price(each.get("output")),
                tags=(f"host:{provider}",) if provider else (),
            )  # fmt: skip


_TASKS = {"embedding": "feature-extraction", "rerank": "text-ranking", "image_generation": "text-to-image",
          "audio_transcription": "automatic-speech-recognition", "audio_speech": "text-to-speech"}  # fmt: skip


def _of_litellm(name: str, told: dict[str, Any]) -> dict[str, Any]:
    prices = {
        side: None if (cost := _price(told.get(f"{side}_cost_per_token"))) is None else cost * _MILLION
        for side in ("input", "output")
    }
    return prices | {
        "model": name,
        "task": _TASKS.get(str(told.get("mode"))),
        "provider": told.get("litellm_provider"),
        "context": told.get("max_input_tokens"),
    }


_READ: dict[str, Callable[[str], Iterator[Listed]]] = {"folder": of_folder, "mlflow": of_mlflow, "prices": of_prices}


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**53 else None


def _price(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6 else None
