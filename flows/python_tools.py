"""Python nodes: loading the one function marked `@tool` in a file. Runs in the worker process only."""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.values import convert

MARK = "__studiolo_tool__"
_NAMES = {int: "int", float: "double", bool: "bool", str: "string", list: "list"}


def load(path: Path) -> Callable[..., Any]:
    """Import a file and return its one tool; raises ValueError where it has none or several."""
    name = f"__flow_{path.stem}_{abs(hash(str(path)))}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    found = [value for value in vars(module).values() if getattr(value, MARK, None) == name]
    if len(found) != 1:
        raise ValueError(f"{path.name} must hold exactly one function marked @tool, not {len(found)}")
    return typing.cast(Callable[..., Any], found[0])


def mark(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a function as the tool of the module that defines it."""
    setattr(function, MARK, function.__module__)
    return function


def literals(function: Callable[..., Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return literal arguments converted to what the parameters are annotated with."""
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):
        hints = {}
    return {name: _literal(value, hints.get(name)) for name, value in values.items()}


def accepts(function: Callable[..., Any], name: str) -> bool:
    """Whether the function has a parameter of this name, or takes any."""
    parameters = inspect.signature(function).parameters
    return name in parameters or any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())


def has_default(function: Callable[..., Any], name: str) -> bool:
    """Whether the parameter may be left out."""
    parameter = inspect.signature(function).parameters.get(name)
    return parameter is not None and parameter.default is not inspect.Parameter.empty


def _literal(value: Any, hint: Any) -> Any:
    if hint in _NAMES:
        return convert(value, _NAMES[hint])
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
