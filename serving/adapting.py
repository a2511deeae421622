"""LoRA adapters of an engine that runs: those of its deployments are loaded, those of none are unloaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from serving import probing
from serving.replicas import Replica
from workspace.errors import Unavailable


async def adapt(replica: Replica, wanted: Mapping[str, str], folders: Mapping[str, Path]) -> Replica:
    """Return the replica as it is after it has loaded what is wanted: references by name, and where each is."""
    loaded = dict(replica.adapters or {})
    for name in [name for name, reference in loaded.items() if wanted.get(name) != reference]:
        await _tell(replica, "/v1/unload_lora_adapter", {"lora_name": name})
        del loaded[name]
    for name in [name for name in wanted if name not in loaded]:
        await _tell(replica, "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folders[name])})
        loaded[name] = wanted[name]
    return replace(replica, adapters=loaded)


async def _tell(replica: Replica, path: str, value: Mapping[str, str]) -> None:
    status, body = await probing.posted(replica, path, value)
    if status != 200:
        words = body.decode("utf-8", "replace")[:500] or "no answer"
        raise Unavailable(f"the engine of {replica.model} did not take adapter {value['lora_name']!r}: {words}")
