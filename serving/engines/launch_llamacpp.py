"""The launch of engine `llamacpp`: llama-cpp-python's server over one GGUF file."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from serving.endpoints import Deployment
from serving.engines import installs
from serving.engines.launch import Launch, asked, inside, option
from workspace.errors import MissingExtra
from workspace.home import Workspace

OPTIONS = ("n_ctx", "n_batch", "n_threads", "n_gpu_layers", "chat_format")
OVERHEAD = 250_000_000  # bytes beside the weights
CONTEXT = 4_096  # tokens, where `n_ctx` is not set


def launch(workspace: Workspace, deployment: Deployment) -> Launch:
    """Return how the file is served."""
    model = workspace.assets.get("model", deployment.model)
    weights = inside(workspace.assets.path(model), "*.gguf", "GGUF file")
    found = {"n_ctx": CONTEXT, **options(deployment)}
    command = [_python(), "-P", "-m", "llama_cpp.server", "--model", str(weights), "--model_alias", model.name]
    for name, value in found.items():
        command += [f"--{name}", str(value)]
    command += option("host", "127.0.0.1")
    return Launch(
        command=command,
        memory=weights.stat().st_size + OVERHEAD + 50_000 * int(found["n_ctx"]),
        socket_option="",
        port_option="--port",
        key_variable="API_KEY",
        health="/v1/models",  # it has no other; the key is asked for here too
        host="127.0.0.1",
    )


def options(deployment: Deployment) -> dict[str, Any]:
    """Return what of the properties makes it another engine."""
    return asked(deployment.properties, OPTIONS)


def _python() -> str:
    """The Python that has llama-cpp-python: ours, else the one of its own environment."""
    if importlib.util.find_spec("llama_cpp") is not None:
        return sys.executable
    if found := installs.python("llamacpp"):
        return str(found)
    raise MissingExtra(
        "the llamacpp engine needs llama-cpp-python",
        hint="`pip install 'studiolo[llamacpp]'` or `studiolo engine install llamacpp`; both compile for ten minutes",
    )
