"""The process that trains: `python -m finetune.language.worker PLAN`. It needs files alone, no database.

Whoever has begun it reads what it tells, and begins another one where it was killed.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from finetune.language.given import Given
from workspace.errors import StudioloError
from workspace.paths import write_atomically

RECIPES = {
    "sft": "finetune.language.sft:train",
    "dpo": "finetune.language.dpo:train",
    "kto": "finetune.language.kto:train",
    "orpo": "finetune.language.orpo:train",
    "classify": "finetune.text.recipes:classify",
    "tag": "finetune.text.recipes:tag",
    "embed": "finetune.text.recipes:embed",
    "rerank": "finetune.text.recipes:rerank",
}


def main() -> int:
    """Train what the plan says; return the exit code, and leave the reason beside the plan where it failed."""
    given = Given.read(Path(sys.argv[1]))
    _quiet()
    try:
        recipe(given.job.method)(given)
    except StudioloError as problem:
        told = {"what": type(problem).__name__, "message": str(problem), "hint": problem.hint}
        if os.environ.get("RANK", "0") == "0":
            write_atomically(given.error, json.dumps(told))
        return problem.exit_code
    return 0


def _quiet() -> None:
    """Leave the log to what is told of the training: no bars, and no words about names that will change."""
    import warnings

    import datasets
    import transformers

    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    warnings.filterwarnings("ignore", category=FutureWarning)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()


def recipe(method: str) -> Callable[[Given], None]:
    """Return the function that trains by a method."""
    module, _, name = RECIPES[method].partition(":")
    found: Callable[[Given], None] = getattr(importlib.import_module(module), name)
    return found


if __name__ == "__main__":
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))
    sys.exit(main())
