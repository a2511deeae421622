"""The launch of engine `torch`: our own, over a folder of safetensors."""

from __future__ import annotations

import sys
from typing import Any

from serving import sizes
from serving.endpoints import Deployment
from serving.engines.launch import Launch, asked, option
from serving.engines.launch_adapters import adapters, named, owned, weights_of
from workspace.home import Workspace

OPTIONS = ("threads", "dtype")
OVERHEAD = 400_000_000  # bytes of Python and PyTorch themselves
READ_AHEAD = 8_192  # positions whose keys and values are reckoned with


def launch(workspace: Workspace, deployment: Deployment) -> Launch:
    """Return how the model is served."""
    model = workspace.assets.get("model", deployment.model)
    content, own = weights_of(workspace, model)
    task = str(model.properties.get("task", "chat"))
    settings = workspace.settings
    given = deployment.properties
    found = {name: given.get(name) or getattr(settings, name) for name in OPTIONS}
    command = [sys.executable, "-P", "-m", "serving.engines.torch", "--model", str(content)]
    command += ["--name", model.name, "--task", task]
    for name, value in found.items():
        command += option(name, value) if value else []
    for name, folder in (own | adapters(workspace, deployment)).items():
        command += ["--adapter", f"{name}={folder}"]
    chat = task == "chat"
    # What "auto" comes to is found out by the engine: importing torch to ask takes seconds.
    memory = sizes.weights(content, "bfloat16" if chat and found["dtype"] == "bfloat16" else "float32") + OVERHEAD
    memory += sizes.positions(content, READ_AHEAD) if chat else 0
    if chat and found["dtype"] not in ("bfloat16", "float32") and sizes.is_narrow(content):
        memory += sizes.weights(content, "float16")  # for a lone row
    return Launch(command=command, memory=memory, adapters=named(deployment) if chat else None)


def options(deployment: Deployment) -> dict[str, Any]:
    """Return what of the properties makes it another engine."""
    return asked(deployment.properties, OPTIONS) | owned(deployment)
