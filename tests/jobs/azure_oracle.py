"""What the real azure-ai-ml makes of files: run by a Python that has it, with [kind, path] a line on standard input."""

from __future__ import annotations

import importlib
import json
import logging
import os
import pkgutil
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

# The package hides if_else, do_while and parallel_for behind this; we do not.
os.environ["AZURE_ML_CLI_PRIVATE_FEATURES_ENABLED"] = "true"


def loaders() -> dict[str, Callable[..., Any]]:
    """Return what reads a file, by its kind."""
    from azure.ai.ml.entities import _load_functions as load
    from azure.ai.ml.entities._data_import.data_import import DataImport

    return {
        "job": load.load_job,
        "component": load.load_component,
        "data": load.load_data,
        "data_import": lambda source: load.load_common(DataImport, source),
        "environment": load.load_environment,
        "model": load.load_model,
        "model_package": load.load_model_package,
        "datastore": load.load_datastore,
        "connection": load.load_connection,
        "compute": load.load_compute,
        "registry": load.load_registry,
        "schedule": load.load_schedule,
        "workspace": load.load_workspace,
        "mltable": _mltable,
    }


def _mltable(source: str) -> Any:
    from azure.ai.ml._utils.utils import load_yaml
    from azure.ai.ml.entities._data.mltable_metadata import MLTableMetadata

    return MLTableMetadata._load(load_yaml(source), source)


def verdict(load: Callable[..., Any], path: str) -> str | None:
    """Return None where the file is accepted, else why not."""
    result = None
    try:
        entity = load(source=path)
        validate = getattr(entity, "_validate", None)
        with suppress(NotImplementedError):  # monitors can be loaded only
            result = validate() if validate else None
    except Exception as error:  # noqa: BLE001  whatever it says is its verdict
        return f"{type(error).__name__}: {error}"[:2_000]
    if result is None or isinstance(result, str) or result.passed:
        return None
    return str(result.error_messages)[:2_000]


def answer(load: Callable[..., Any], path: str) -> None:
    """Write one verdict as JSON, from a process of its own: what a file leaves behind in the package's schemas ends."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    os.write(1, json.dumps(verdict(load, path)).encode() + b"\n")
    os._exit(0)


def import_all() -> None:
    """Import what the package imports while it reads, once and not for each file."""
    import azure.ai.ml._schema as schemas

    for module in pkgutil.walk_packages(schemas.__path__, f"{schemas.__name__}."):
        importlib.import_module(module.name)


def main() -> None:
    """Answer each line with one verdict as JSON."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    known = loaders()
    import_all()
    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        kind, path = json.loads(line)
        answer(known[kind], path)


if __name__ == "__main__":
    main()
