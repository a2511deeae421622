"""What came over a network with the request that fired a job: values, and never paths of this machine.

The names of the inputs that a request gave are a property of the pipeline that it fired, and are handed down to the
pipelines in it; where such a value stands for data, code or a compute, it is looked at before it is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from jobs.files.expressions import Binding, bindings, fill, used
from jobs.files.ports import Input
from jobs.files.references import OutputPath, Url, target
from jobs.ray.computes import is_address
from workspace.errors import Invalid

IsForeign = Callable[[Binding], bool]

FOREIGN = "studiolo.foreign"  # the property of a job that names its inputs which a request gave

# What data that a request names may be fetched by: neither what reads this machine, nor what goes where we do not look.
_FETCHED = ("https", "http", "wasbs", "wasb", "abfss", "abfs", "s3", "gs")
_COMPUTES = ("compute", "default_compute")
# Keys of a step that are values whatever they say.
_VALUES = frozenset({
    "args", "conf", "description", "display_name", "early_termination", "environment_variables", "error_threshold",
    "experiment_name", "limits", "logging_level", "max_concurrency_per_instance", "mini_batch_error_threshold",
    "mini_batch_size", "objective", "partition_keys", "program_arguments", "properties", "queue_settings",
    "resources", "retry_settings", "sampling_algorithm", "search_space", "tags", "type",
})  # fmt: skip


def said(names: Collection[str]) -> dict[str, str]:
    """Return the property that says which inputs of a job a request gave; nothing where it gave none.

    >>> said({"rows"})
    {'studiolo.foreign': '["rows"]'}
    """
    return {FOREIGN: json.dumps(sorted(names))} if names else {}


def names_in(properties: Mapping[str, str | None]) -> frozenset[str]:
    """Return which inputs of a job a request gave."""
    return frozenset(json.loads(properties.get(FOREIGN) or "[]"))


def uses(written: Any, is_foreign: IsForeign) -> bool:
    """Whether a value of a file stands for what a request gave."""
    if isinstance(written, Mapping):
        return any(uses(each, is_foreign) for each in written.values())
    if isinstance(written, list | tuple):
        return any(uses(each, is_foreign) for each in written)
    return any(map(is_foreign, bindings(written.path if isinstance(written, Input) else written)))


def check_place(written: str, key: str) -> None:
    """Raise where data that a request names is not to be had from the workspace or from an address outside."""
    where = target(written, Path("/"))
    if isinstance(where, Url):
        scheme = where.url.partition("://")[0].lower()
        is_fetched = scheme in _FETCHED and "::" not in where.url  # fsspec would take that as one in another
    is_up = isinstance(where, OutputPath) and not {where.job, where.output}.isdisjoint({".", ".."})
    if isinstance(where, Path) or is_up or (isinstance(where, Url) and not is_fetched):
        hint = f"name a data asset, azureml:NAME:VERSION, or a URL of {', '.join(_FETCHED)}"
        raise Invalid(f"`{key}` cannot be a path of this machine or a URL of that kind", hint=hint)


def check_compute(written: str, key: str) -> None:
    """Raise where a compute that a request names is an address: what a job has and knows would be sent there."""
    if is_address(written.strip()):
        hint = "name a compute of the workspace: studiolo compute list"
        raise Invalid(f"`{key}` cannot be an address", hint=hint)


def check_keys(written: Mapping[str, Any], find: Callable[[str], Any], is_foreign: IsForeign) -> None:
    """Raise where keys of a step take a path or an address from what a request gave. `find` gives a name's value."""
    for key, text in _texts(written):
        value = fill(text, find) if uses(text, is_foreign) else None
        if isinstance(value, str):
            (check_compute if key in _COMPUTES else check_place)(value, key)


def _texts(written: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(written, Mapping):
        for name, each in written.items():
            if name not in _VALUES:
                yield from _texts(each, str(name))
    elif isinstance(written, list):
        for each in written:
            yield from _texts(each, key)
    elif isinstance(written, str) and used(written):
        yield key, written
