"""The engines that are launched, by name: each has a file that says how."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.endpoints import Deployment
from serving.engines import launch_flow, launch_llamacpp, launch_mlflow, launch_script, launch_torch, launch_vllm
from serving.engines.launch import Launch
from workspace.errors import NotFound, did_you_mean
from workspace.home import Workspace


@dataclass(frozen=True, slots=True)
class Kind:
    """An engine: how it is launched, and which properties of a deployment make it another process.

    `lacks` are fields, by path, that it would pass over in silence; "" is the path itself.
    """

    launch: Callable[[Workspace, Deployment], Launch]
    options: Callable[[Deployment], Mapping[str, Any]]
    lacks: Mapping[str, Sequence[str]] = field(default_factory=dict)


# To add one: a file with `launch` and `options` and a line here.
KINDS: Mapping[str, Kind] = {
    "torch": Kind(launch_torch.launch, launch_torch.options),
    "vllm": Kind(launch_vllm.launch, launch_vllm.options),
    "llamacpp": Kind(launch_llamacpp.launch, launch_llamacpp.options, launch_llamacpp.LACKS),
    "flow": Kind(launch_flow.launch, launch_flow.options),
    "script": Kind(launch_script.launch, launch_script.options),
    "mlflow": Kind(launch_mlflow.launch, launch_script.options),
}


def lacking(engine: str, path: str, request: Mapping[str, Any]) -> str | None:
    """Return what of a request an engine would pass over in silence: a field, or "" for the path itself."""
    known = KINDS.get(engine)
    fields = known.lacks.get(path, ()) if known else ()
    return next((name for name in fields if not name or request.get(name)), None)


def kind(engine: str) -> Kind:
    """Return the engine of this name."""
    if engine not in KINDS:
        raise NotFound(f"engine {engine!r} is not launched here", hint=did_you_mean(engine, KINDS))
    return KINDS[engine]
