"""Keeping a job as it is now: its code becomes assets, also that of its steps, so that nothing changes it later."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jobs.files.environment import Environment
from jobs.files.ports import Input
from jobs.files.references import PREFIX, Reference, reference
from jobs.snapshots import snapshot
from jobs.submit import keep_code
from workspace.home import Workspace


def with_code_kept(workspace: Workspace, value: Any, inputs: Callable[[Input], Input] = lambda given: given) -> Any:
    """Return a job with its code as assets; `inputs` says what becomes of each of its inputs."""
    if isinstance(value, Input):
        return inputs(value)
    if isinstance(value, Mapping):
        return {key: with_code_kept(workspace, each, inputs) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(with_code_kept(workspace, each, inputs) for each in value)
    if not dataclasses.is_dataclass(value) or isinstance(value, type | Reference | Environment):
        return value
    names = [field.name for field in dataclasses.fields(value) if field.name not in ("origin", "findings")]
    changed = {
        name: with_code_kept(workspace, old, inputs) for name in names if (old := getattr(value, name)) is not None
    }
    if isinstance(changed.get("code"), Path):
        _, ref = keep_code(workspace, snapshot(workspace, changed["code"]))
        changed["code"] = reference(f"{PREFIX}{ref.removeprefix('code:')}")
    return dataclasses.replace(value, **changed)
