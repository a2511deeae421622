"""A scoring script of a batch deployment as Azure ML runs it: `run(mini_batch)` with a list of paths, rows back.

Standard library only, from Python 3.8 on; `scoring_worker` loads it.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def load(spec: dict[str, Any], collect: Callable[[dict[str, Any], bytes], None]) -> BatchScriptScorer:
    """Begin the script."""
    return BatchScriptScorer(_beside("script_scorer").begun(spec, collect))


class BatchScriptScorer:
    """The script, once its `init()` is done."""

    about: dict[str, Any] = {}

    def __init__(self, run: Any) -> None:
        self._run = run

    def answer(self, request: dict[str, Any], body: bytes) -> Any:  # noqa: ARG002  every scorer is asked so
        """Return the rows that the script makes of a mini-batch."""
        result = self._run(json.loads(body)["files"])
        return 200, {}, json.dumps(rows(result)).encode()


def rows(result: Any) -> dict[str, Any]:
    """Return how many rows there are, and their text: no header, values separated by commas, plain text as it is."""
    if hasattr(result, "to_csv") and hasattr(result, "columns"):
        return {"rows": len(result), "text": result.to_csv(index=False, header=False)}
    if hasattr(result, "tolist"):
        result = result.tolist()
    if not isinstance(result, (list, tuple)):
        raise TypeError(f"run() must return a list or a DataFrame, not {type(result).__name__}")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in result:
        if isinstance(row, dict):
            writer.writerow(row.values())
        elif isinstance(row, (list, tuple)):
            writer.writerow(row)
        elif isinstance(row, str) and "\n" not in row and "\r" not in row:
            out.write(row + "\n")
        else:
            writer.writerow([row])
    return {"rows": len(result), "text": out.getvalue()}


def _beside(name: str) -> Any:
    """A module of this folder, which is on no path: it has files that are called like the packages they use."""
    path = os.path.join(os.path.dirname(os.path.realpath(__file__)), name + ".py")  # noqa: PTH118, PTH120
    spec = importlib.util.spec_from_file_location("studiolo_" + name, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
