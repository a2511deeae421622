"""The launch of engine `llamacpp`: llama.cpp's own server over one GGUF file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from serving.endpoints import Deployment
from serving.engines import installs, llamacpp
from serving.engines.launch import Launch, asked, inside
from workspace.errors import MissingExtra
from workspace.home import Workspace

OVERHEAD = 250_000_000  # bytes beside the weights
CONTEXT = 4_096  # tokens of a conversation, where `n_ctx` is not set
# It knows the paths /tokenize and /detokenize and means something else by them.
LACKS = {"/v1/completions": ("echo", "logprobs", "suffix", "best_of"), "/tokenize": ("",), "/detokenize": ("",)}
CHATS = 4  # at once, where `n_parallel` is not set


def launch(workspace: Workspace, deployment: Deployment) -> Launch:
    """Return how the file is served."""
    model = workspace.assets.get("model", deployment.model)
    weights = inside(workspace.assets.path(model), "*.gguf", "GGUF file")
    found = options(deployment)
    context, chats = int(found.pop("n_ctx", CONTEXT)), int(found.pop("n_parallel", CHATS))
    command = [_python(), "-P", str(Path(llamacpp.__file__)), "--model", str(weights), "--name", model.name]
    command += ["--context", str(context), "--chats", str(chats), "--settings", json.dumps(found)]
    command += ["--embedding"] if model.properties.get("task") == "embedding" else []
    return Launch(
        command=command,
        memory=weights.stat().st_size + OVERHEAD + 50_000 * context * chats,
        loading=600.0,
    )


def options(deployment: Deployment) -> dict[str, Any]:
    """Return what of the properties makes it another engine."""
    return asked(deployment.properties, ("n_ctx", "n_parallel", *llamacpp.SETTINGS))


def _python() -> str:
    """The Python that has llama.cpp: the one of its own environment, where somebody has made one, else ours."""
    if found := installs.python("llamacpp"):
        return str(found)
    if installs.comes_along("llamacpp"):
        return sys.executable
    raise MissingExtra(
        "the llamacpp engine needs xllamacpp",
        hint="`studiolo engine install llamacpp` or `pip install 'studiolo[llamacpp]'`",
    )
