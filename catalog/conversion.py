"""From a GGUF file to a folder of safetensors, in a process of its own: `python -m catalog.conversion GGUF FOLDER`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from catalog.embedded import CONVERSION


def convert(source: Path, folder: Path) -> Iterator[str]:
    """Write weights (bfloat16), configuration, tokenizer and chat template, and name each step as it begins.

    Only bfloat16 is kept: the source has four bits a number, so the eight of a bfloat16's mantissa lose next to
    nothing, and whoever trains widens them as they are read.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)  # mostly copying; a second thread would only wait
    yield CONVERSION[0]
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, local_files_only=True)
    yield CONVERSION[1]
    model = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.float32, local_files_only=True
    )
    tokenizer.model_max_length = model.config.max_position_embeddings
    # transformers leaves a GGUF quantizer on the model, which is dense by now, and refuses to save it with that.
    model.hf_quantizer = None
    del model.config.quantization_config
    for name in ("is_quantized", "quantization_method"):
        model.__dict__.pop(name, None)
    yield CONVERSION[2]
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    source, folder = map(Path, sys.argv[1:])
    for step in convert(source, folder):
        print(step, flush=True)  # noqa: T201 (read by `catalog.embedded`)


if __name__ == "__main__":
    main()
