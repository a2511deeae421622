"""What a batch job is told: the files, what runs over them, and where the rows go; a file only its owner reads."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serving.batch.settings import BatchSettings
from serving.engines.scoring_spec import ScoringSpec
from workspace.home import Workspace
from workspace.paths import write_atomically

OUTPUT = "score"  # the output of a model deployment, as in Azure ML
# What MLflow's models take without a script: tables, and images as arrays.
TABLES = (".csv", ".parquet", ".jsonl", ".json")
IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """One job over files.

    `work` keeps what is finished, so that a job that is begun again with the same folder goes on where this one was;
    `output` is where it all is in the end, and `copy_to` a folder besides.
    """

    job: str
    source: str  # a file or a folder
    spec: ScoringSpec
    settings: BatchSettings
    work: str
    output: str
    progress: str
    copy_to: str = ""

    def write(self, workspace: Workspace) -> Path:
        """Keep it where the job finds it."""
        value = {**asdict(self), "spec": asdict(self.spec), "settings": self.settings.kept()}
        text = json.dumps(value, sort_keys=True)
        path = workspace.home / "services" / f"batch-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        write_atomically(path, text)
        return path

    @classmethod
    def read(cls, path: Path) -> BatchPlan:
        """Read it from its file."""
        value: dict[str, Any] = json.loads(path.read_text())
        spec, settings = ScoringSpec(**value.pop("spec")), BatchSettings.of(value.pop("settings"))
        return cls(**value, spec=spec, settings=settings)


def files_in(source: Path) -> list[str]:
    """Return the files of an input, in an order that is always the same; hidden ones are left out."""
    if source.is_file():
        return [str(source)]
    found = [path for path in source.rglob("*") if path.is_file()]
    return sorted(str(path) for path in found if not any(p.startswith(".") for p in path.relative_to(source).parts))
