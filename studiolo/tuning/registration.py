"""A trained model is kept: as an asset with its card, in the lineage beside base and data, and where MLflow is told.

`register(workspace, run_id, Trained(...))` is what every training ends with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune.after import model_card
from finetune.after.model_card import Result, Story
from jobs import run_log
from workspace import Asset, Workspace, environment
from workspace.nodes import add_edges

ADAPTER = "adapter_config.json"
MLMODEL = "MLmodel"
_LIBRARIES = {"embedding": "sentence-transformers", "rerank": "sentence-transformers"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training has left in `folder`, and what it was made from.

    `task` is what it does: chat, embedding, rerank, text-classification, token-classification, or a tabular one.
    `settings` are told in the card; `code` is the folder that the training's own code came from.
    """

    name: str
    folder: Path
    task: str
    method: str
    base: Asset | None = None
    data: Sequence[Asset] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    results: Sequence[Result] = ()
    library: str | None = None
    job: str | None = None
    code: Path | None = None
    limits: Sequence[str] = ()


def register(workspace: Workspace, run_id: str, trained: Trained) -> Asset:
    """Keep a trained model as the next version of its name, with its card; tell lineage and MLflow what it came from.

    An adapter is a model too: it names its base, and engines that know adapters serve it by its own name.
    """
    folder = trained.folder
    made = _made(run_id, trained)
    model_card.write(_story(workspace, trained, made), folder)
    properties = _properties(trained) | {"made": made}
    if (told := licence(workspace, trained.base)) is not None:
        properties["license"] = told
    asset = workspace.assets.put("model", trained.name, folder, properties=properties)
    node = f"run:{run_id}"
    inputs = [each for each in (trained.base, *trained.data) if each is not None]
    with workspace.light.write() as statements:
        add_edges(statements, run_id, [*((each.ref, node) for each in inputs), (node, asset.ref)])
    tags: dict[str, str | None] = {"studiolo.model": asset.ref, "studiolo.model_digest": asset.digest}
    if trained.base is not None:
        tags |= {"studiolo.base": trained.base.ref, "studiolo.base_digest": trained.base.digest}
    tags |= {f"studiolo.code.{key}": value for key, value in made.items() if key in ("commit", "studiolo")}
    run_log.log(workspace.light, run_id, tags=tags)
    return asset


def story_of(workspace: Workspace, asset: Asset, results: Sequence[Result]) -> str:
    """Return the card of a model that is kept, with results that came after it: the asset itself never changes."""
    kept = asset.properties
    trained = Trained(
        name=asset.name, folder=workspace.assets.path(asset), task=str(kept.get("task") or "chat"),
        method=str(kept.get("method") or "training"), base=base_of(workspace, asset),
        data=[workspace.assets.get(ref.partition(":")[0], ref) for ref in kept.get("data", ())],
        settings=dict(kept.get("settings") or {}), results=results, library=kept.get("library"),
    )  # fmt: skip
    made = {"asset": asset.ref, "digest": asset.digest, **dict(kept.get("made") or {})}
    return model_card.text(_story(workspace, trained, made))


def base_of(workspace: Workspace, asset: Asset) -> Asset | None:
    """Return the model that another one was tuned from, as its properties say."""
    told = asset.properties.get("base")
    return workspace.assets.get("model", str(told)) if told else None


def licence(workspace: Workspace, base: Asset | None) -> str | None:
    """Return the licence of a base, which what is made of it inherits."""
    if base is None:
        return None
    if told := base.properties.get("license"):
        return str(told)
    content = workspace.assets.path(base)
    found = model_card.read(content).get("license") if content.is_dir() else None
    return str(found) if found else None


def _story(workspace: Workspace, trained: Trained, made: Mapping[str, str]) -> Story:
    base, is_adapter = trained.base, (trained.folder / ADAPTER).is_file()
    hub = None if base is None else str(base.properties.get("base_model") or base.name)
    return Story(
        name=trained.name, task=trained.task, method=trained.method, base_model=hub,
        base_revision=None if base is None else str(base.properties.get("revision") or base.digest),
        relation=None if base is None else "adapter" if is_adapter else "finetune",
        datasets=[each.name for each in trained.data], license=licence(workspace, base),
        library=trained.library or ("peft" if is_adapter else _LIBRARIES.get(trained.task, "transformers")),
        settings=trained.settings, results=trained.results, use=_use(trained),
        made=made, limits=trained.limits,
    )  # fmt: skip


def _properties(trained: Trained) -> dict[str, Any]:
    base = trained.base
    told: dict[str, Any] = {
        "task": trained.task,
        "type": "mlflow_model" if (trained.folder / MLMODEL).is_file() else "custom_model",
        "method": trained.method,
        "data": [each.ref for each in trained.data],
        "settings": json.loads(json.dumps(dict(trained.settings), default=str)),
        "library": trained.library,
        "job_name": trained.job,
    }
    if base is not None:
        told |= {"base": base.ref, "base_digest": base.digest, "base_model": base.properties.get("base_model")}
        told["context_length"] = base.properties.get("context_length")
    if (trained.folder / ADAPTER).is_file():
        config = json.loads((trained.folder / ADAPTER).read_text(encoding="utf-8"))
        told["adapter"] = {key: config.get(key) for key in ("peft_type", "r", "lora_alpha", "use_dora", "use_rslora")}
    return {key: value for key, value in told.items() if value not in (None, [], {})}


def _made(run_id: str, trained: Trained) -> dict[str, str]:
    """Return what finds the making again: job, run, the commit of the code, versions, and the data by digest."""
    packages = dict(environment.packages())
    git = environment.git(trained.code) if trained.code else None
    made = {"run": run_id, **({"job": trained.job} if trained.job else {})}
    if git and git["commit"]:
        made["commit"] = f"{git['commit']}{' with changes' if git['dirty'] else ''}"
    made |= {name: packages[name] for name in ("studiolo", "torch", "transformers", "peft", "trl") if name in packages}
    if trained.base is not None:
        made[f"base {trained.base.ref}"] = trained.base.digest
    made |= {f"data {each.ref}": each.digest for each in trained.data}
    return made


def _use(trained: Trained) -> str:
    name = trained.name
    if trained.task == "chat":
        asked = f'client.chat.completions.create(model="{name}", messages=[...])'
        return f"The gateway answers for it by its name:\n\n```python\n{asked}\n```"
    if trained.task in ("embedding", "rerank"):
        route = "embeddings" if trained.task == "embedding" else "rerank"
        return f'The gateway answers `POST /v1/{route}` with `"model": "{name}"`.'
    return f"`studiolo deployment create` serves it: `model: azureml:{name}@latest`, answered at `/score`."
