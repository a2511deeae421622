"""A model's tokenizer, read from its folder and from nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workspace.errors import Invalid, MissingExtra


def open_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a model that lies in a folder."""
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise MissingExtra("tokenizers", hint="pip install 'studiolo[finetune]'") from None
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise Invalid(f"no tokenizer in {str(folder)!r}: {str(error).splitlines()[0]}") from None
