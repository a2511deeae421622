"""Loading a model folder: where it computes, in which numbers, how much it can read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workspace.errors import Invalid, MissingExtra, NotFound


@contextmanager
def loading(folder: Path) -> Iterator[None]:
    """Turn what goes wrong while a model is loaded into one of our errors."""
    if not (folder / "config.json").is_file():
        raise NotFound(f"no model in {str(folder)!r}", hint="a model folder has a config.json")
    try:
        import transformers
    except ImportError:
        raise MissingExtra("the torch engine needs torch", hint="pip install 'studiolo[torch]'") from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError) as error:
        raise Invalid(f"cannot load the model in {str(folder)!r}: {error}") from error


def device() -> str:
    """Return where models compute on this machine."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def dtype_of(name: str) -> Any:
    """Return torch's number format of that name: "bfloat16", "float32", or "auto": bfloat16 where it is the faster one.

    A processor without instructions for bfloat16 takes three to five times as long with it as with float32.
    """
    import torch

    if name == "auto":
        fast = torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        name = "bfloat16" if fast else "float32"
    return {"bfloat16": torch.bfloat16, "float32": torch.float32}[name]


def laid_out(model: Any, *, halve: bool = False) -> Any:
    """Return a causal model as it computes fastest here: with our own forward pass, or with its products packed.

    With `halve` our own forward pass may multiply a lone token in float16.
    """
    import torch

    from serving.engines.llama import Llama, is_built_alike
    from serving.engines.packing import pack

    if is_built_alike(model):
        return Llama(model, take=True, halve=halve and model.dtype == torch.float32)
    pack(model)
    return model


def context_length(model: Any, tokenizer: Any) -> int:
    """Return how many tokens the model can see, prompt and answer together."""
    told = [getattr(model.config, "max_position_embeddings", None), tokenizer.model_max_length]
    return min(int(length) for length in told if length)


def fingerprint(model: Any) -> str:
    """Return what besides the weights decides the answer to a seed, as OpenAI's `system_fingerprint`."""
    import torch

    halves = getattr(model, "halves", None)
    numbers = str(model.dtype).removeprefix("torch.") + ("+float16" if halves and halves.on else "")
    return f"torch-{torch.__version__}-{numbers}-{model.device.type}"
