"""What parameters, metrics and tags of runs may be called."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable

from workspace.errors import Invalid

# What MLflow accepts as well, so that every run can be carried there.
_KEY = re.compile(r"[\w.\-/: ]{1,250}")


def refuse_names(names: Iterable[str]) -> None:
    """Raise Invalid for a parameter, metric or tag name that MLflow would refuse later."""
    for name in names:
        if not _KEY.fullmatch(name) or posixpath.normpath(name) != name or name.startswith(("/", "..")) or name == ".":
            raise Invalid(
                f"{name!r} cannot name a parameter, metric or tag", hint="letters, digits and _ - . / : space"
            )


def reserved_experiment(name: str) -> int:
    """Return the id that an experiment of ours has in MLflow where it is free, so that it is known before MLflow is."""
    return 10**9 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % 10**9
