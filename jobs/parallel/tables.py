"""The input of a parallel job as mini-batches: files by count, bytes or path, the rows of a table by size or value.

Standard library only, from Python 3.8 on, and pandas where there is a table: it runs in the job's own Python.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from jobs.parallel.schedule import MiniBatch, cut, cut_by_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FOLDER = re.compile(r"([^/=]+)=([^/]*)")
_FORMAT = re.compile(r"\\\{(\w+)(?::[^}]*)?\\\}")
_EXTRACT = "extract_columns_from_partition_format"


class Unreadable(Exception):
    """The input cannot be cut in the way that was asked for."""


def mini_batches(plan: Mapping[str, Any], source: str) -> list[MiniBatch]:
    """Return the mini-batches of an input as a plan asks for them."""
    table = plan.get("table")
    if plan["kind"] == "table" and table is not None:
        return _of_table(plan, _frame(table, source))
    files = files_of(table, source)
    root = source if os.path.isdir(source) else os.path.dirname(source)  # noqa: PTH112, PTH120
    if plan["keys"]:
        return _by_path(files, root, plan["keys"], table)
    if plan["bytes"]:
        return cut_by_bytes(files, [os.path.getsize(path) for path in files], plan["size"])  # noqa: PTH202
    return cut(files, plan["size"])


def files_of(table: Mapping[str, Any] | None, source: str) -> list[str]:
    """Return the files of an input, in an order that is always the same: those that its MLTable names, or all."""
    if table is None:
        return [source] if os.path.isfile(source) else sorted(_walk(source))  # noqa: PTH113
    from jobs.shims import mltable  # here: most inputs are files

    try:
        return list(dict.fromkeys(mltable.files_of(mltable.MLTable(table["paths"], (), source))))
    except ValueError as problem:
        raise Unreadable(str(problem)) from None


def _walk(folder: str) -> list[str]:
    """Return the files under a folder; hidden ones are left out."""
    found: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                found += _walk(entry.path)
            else:
                found.append(entry.path)
    return found


def _by_path(files: Sequence[str], root: str, keys: Sequence[str], table: Mapping[str, Any] | None) -> list[MiniBatch]:
    """Return a mini-batch for each value of keys that stand in paths: `store=4/…`, or where a format says."""
    pattern = _partition_format(table)
    groups: dict[tuple[str, ...], list[str]] = {}
    for path in files:
        inside = os.path.relpath(path, root)
        known = dict(_FOLDER.findall(inside))
        if pattern is not None and (match := pattern.match(inside)):
            known.update(match.groupdict())
        missing = [key for key in keys if key not in known]
        if missing:
            raise Unreadable(f"partition key {missing[0]!r} is not in the path {inside!r}: write folders as key=value")
        groups.setdefault(tuple(known[key] for key in keys), []).append(path)
    return [
        MiniBatch(number, part, len(part), dict(zip(keys, values)))  # noqa: B905
        for number, (values, part) in enumerate(groups.items())
    ]


def _partition_format(table: Mapping[str, Any] | None) -> re.Pattern[str] | None:
    for step in (table or {}).get("transformations", ()):
        if _EXTRACT in step:
            written = step[_EXTRACT]
            text = written["partition_format"] if isinstance(written, dict) else written
            return re.compile(_FORMAT.sub(r"(?P<\1>[^/]+)", re.escape(text.lstrip("/"))))
    return None


def _of_table(plan: Mapping[str, Any], frame: Any) -> list[MiniBatch]:
    keys = list(plan["keys"])
    if keys:
        missing = [key for key in keys if key not in frame.columns]
        if missing:
            raise Unreadable(f"the table has no column {missing[0]!r}: {', '.join(map(str, frame.columns))}")
        parts: list[tuple[Any, Any]] = []
        for values, part in frame.groupby(keys if len(keys) > 1 else keys[0], sort=True):
            parts.append((part, dict(zip(keys, values if len(keys) > 1 else (values,)))))  # noqa: B905
    else:
        rows = _rows_of(plan, frame)
        parts = [(frame.iloc[start : start + rows], None) for start in range(0, len(frame), rows)]
    return [
        MiniBatch(number, part.reset_index(drop=True), len(part), values) for number, (part, values) in enumerate(parts)
    ]


def _rows_of(plan: Mapping[str, Any], frame: Any) -> int:
    """Return how many rows make a mini-batch of the size that is asked for."""
    if not plan["bytes"]:
        return int(plan["size"])
    largest = frame.memory_usage(deep=True, index=False).sum() / max(1, len(frame))
    return max(1, int(plan["size"] / max(1.0, largest)))


def _frame(table: Mapping[str, Any], source: str) -> Any:
    """Read a table as its MLTable says, with pandas."""
    from jobs.shims import mltable

    try:
        return mltable.MLTable(table["paths"], table["transformations"], source).to_pandas_dataframe()
    except ImportError:
        raise Unreadable("a table needs pandas: add it to the environment of the job") from None
    except ValueError as problem:
        raise Unreadable(f"the table cannot be read: {problem}") from None
