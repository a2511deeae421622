"""What a scoring engine is told at its start: what to load, by which Python, and what to keep of what passes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringSpec:
    """One deployment of engine `script` or `mlflow`.

    `scorer` is the file that knows how to load and ask it, `folder` where its processes work, `model` the model's
    content and `model_dir` what AZUREML_MODEL_DIR says. A process that takes longer than `patience` seconds over one
    request is replaced.
    """

    endpoint: str
    deployment: str
    engine: str
    python: str
    scorer: str
    folder: str
    model: str = ""
    model_dir: str = ""
    script: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    patience: float = 300.0
    home: str = ""
    collected: Mapping[str, Any] | None = None
    allow_pickle: bool = False

    def text(self) -> str:
        """Return it as its file says it."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def read(cls, path: Path) -> ScoringSpec:
        """Read it from its file."""
        return cls(**json.loads(path.read_text()))
