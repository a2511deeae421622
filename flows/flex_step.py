"""Running a flex flow: its entry imported, its class made once, its results brought into the form of outputs."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import json
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import flex_signature
from flows.connections import find
from flows.flex_signature import MODEL_CONFIGURATIONS
from flows.flow import MISSING, Flow, Node
from flows.promptflow.connections import as_promptflow
from flows.promptflow.names import log_metric
from flows.python_tools import hints
from flows.values import convert
from workspace.errors import Invalid, did_you_mean

if TYPE_CHECKING:
    from flows.steps import Kit, Step


def make(node: Node, kit: Kit) -> Step:
    """Make the entry ready: a class is made once, here. Raises what the flow's own code raises."""
    from flows.steps import Step

    target = _entry(kit.flow)
    aggregate: Callable[[list[Any]], Any] | None = None
    called: Any = target
    inner: Any = target
    if inspect.isclass(target):
        called = target(**init_values(target, kit))
        inner = type(called).__call__
        if hasattr(called, "__aggregate__"):
            aggregate = _aggregation(called.__aggregate__, unwraps=not _gives_mapping(inner))
    elif kit.init:
        raise Invalid(f"{kit.flow.entry} is a function: it is not made with {', '.join(kit.init)}")
    parameters = inspect.signature(called).parameters
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    defaults = frozenset(name for name, each in parameters.items() if each.default is not each.empty)
    is_async = inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)
    return Step(
        node=node,
        call=_calling(called, defaults, is_async=is_async),
        is_async=is_async,
        accepts=None if takes_any else frozenset(parameters),
        defaults=defaults,
        aggregate=aggregate,
    )


def init_values(target: type, kit: Kit) -> dict[str, Any]:
    """Return what the class is made with, in the types it asks for; raises Invalid naming all that is missing."""
    declared = kit.flow.init
    parameters = dict(inspect.signature(target).parameters)
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    named = {
        name: each for name, each in parameters.items() if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
    }
    for name in kit.init:
        if name not in named and not takes_any:
            raise Invalid(f"{target.__name__} is not made with {name!r}", hint=did_you_mean(name, named))
    given = {name: each.default for name, each in declared.items() if each.default not in (MISSING, None)} | dict(
        kit.init
    )
    missing = [name for name, each in named.items() if each.default is each.empty and name not in given]
    if missing:
        raise Invalid(f"{target.__name__} needs {', '.join(missing)} to be made", hint="give --init name=value")
    annotated = hints(vars(target).get("__init__", target))
    return {
        name: _init_value(value, declared[name].type if name in declared else "", annotated.get(name), kit)
        for name, value in given.items()
        if name in named or takes_any
    }


def _init_value(value: Any, kind: str, hint: Any, kit: Kit) -> Any:
    wanted = getattr(hint, "__name__", "") or kind
    if wanted.endswith("Connection") or kind.endswith("Connection"):
        return as_promptflow(find(kit.connections, value), hint) if isinstance(value, str) else value
    if wanted in MODEL_CONFIGURATIONS or kind in MODEL_CONFIGURATIONS:
        return _model_configuration(value, wanted if wanted in MODEL_CONFIGURATIONS else kind, kit)
    return convert(value, kind) if kind else value


def _model_configuration(value: Any, kind: str, kit: Kit) -> Any:
    made = getattr(importlib.import_module("promptflow.core"), kind)
    if isinstance(value, made):
        return value
    given = json.loads(value) if isinstance(value, str) else value
    if not isinstance(given, dict):
        raise Invalid(f"{kind} is made from a mapping, not {type(value).__name__}")
    try:
        configuration = made(**given)
    except TypeError as error:
        raise Invalid(f"{kind} cannot be made: {error}", hint=f"known: {', '.join(_field_names(made))}") from None
    if not configuration.connection:
        return configuration
    connection = as_promptflow(find(kit.connections, configuration.connection))
    name = "azure_deployment" if kind.startswith("Azure") else "model"
    return made.from_connection(connection, **{name: getattr(configuration, name)})


def _field_names(kind: type) -> list[str]:
    return [each.name for each in fields(kind)] if is_dataclass(kind) else []


def _entry(flow: Flow) -> Any:
    """Import the entry; a module of the flow may be called like one of ours."""
    module, _, name = flow.entry.partition(":")
    file = flex_signature.find_module((flow.folder,), module)
    loaded = sys.modules.get(module.partition(".")[0])
    is_ours = loaded is not None and not str(getattr(loaded, "__file__", "") or "").startswith(str(flow.folder))
    imported = _from_file(module, file) if file and is_ours else importlib.import_module(module)
    found = getattr(imported, name, None)
    if not callable(found) or (inspect.isclass(found) and not _has_call(found)):
        raise Invalid(f"{flow.entry} is neither a function nor a class with `__call__`")
    return found


def _from_file(module: str, file: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(f"__flex_{module.replace('.', '_')}", file)
    if spec is None or spec.loader is None:
        raise Invalid(f"{file.name} is no Python file")
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


def _has_call(kind: type) -> bool:
    return any("__call__" in vars(each) for each in kind.__mro__)


def _calling(called: Callable[..., Any], defaults: frozenset[str], *, is_async: bool) -> Callable[..., Any]:
    """A null for a parameter that has a default leaves it out: what only the code knows, it decides."""

    def given(values: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if value is not None or name not in defaults}

    if not is_async:
        return lambda **values: settled(called(**given(values)))

    async def call(**values: Any) -> Any:
        made = called(**given(values))
        return made if inspect.isasyncgen(made) else settled(await made)

    return call


def settled(result: Any) -> Any:
    """Return a result in which generators among its values are read to their end; one that is the whole stays."""
    if isinstance(result, dict):
        return {name: _joined(value) for name, value in result.items()} if _holds_iterator(result.values()) else result
    if is_dataclass(result) and not isinstance(result, type):
        values = {each.name: getattr(result, each.name) for each in fields(result)}
        return {name: _joined(value) for name, value in values.items()} if _holds_iterator(values.values()) else result
    return result


def _holds_iterator(values: Any) -> bool:
    return any(isinstance(value, Iterator) for value in values)


def _joined(value: Any) -> Any:
    return "".join(str(piece) for piece in value) if isinstance(value, Iterator) else value


class Attributes(dict[str, Any]):
    """A mapping whose items are attributes as well: how `__aggregate__` sees the results of lines."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def _attributes(value: Any) -> Any:
    if isinstance(value, dict):
        return Attributes({name: _attributes(item) for name, item in value.items()})
    if isinstance(value, list):
        return [_attributes(item) for item in value]
    return value


def _aggregation(aggregate: Callable[..., Any], *, unwraps: bool) -> Callable[[list[Any]], Any]:
    """Return what turns the outputs of all lines into metrics, which are reported as they would be by `log_metric`."""
    if len(inspect.signature(aggregate).parameters) != 1:
        raise Invalid("`__aggregate__` takes exactly one parameter")

    def run(outputs: list[Any]) -> Any:
        results = [each["output"] if unwraps and list(each or ()) == ["output"] else each for each in outputs]
        metrics = aggregate([_attributes(result) for result in results])
        if inspect.isawaitable(metrics):
            metrics = _awaited(metrics)
        for name, value in metrics.items() if isinstance(metrics, dict) else ():
            if isinstance(value, int | float):
                log_metric(name, value)
        return metrics if isinstance(metrics, dict) else {}

    return run


def _awaited(awaitable: Any) -> Any:
    async def wait() -> Any:
        return await awaitable

    return asyncio.run(wait())


def _gives_mapping(call: Callable[..., Any]) -> bool:
    """Whether a call says that it gives a mapping, so that a lone key `output` is its own."""
    hint = hints(call).get("return")
    return hint is dict or is_dataclass(hint) or getattr(hint, "__origin__", None) is dict or hasattr(hint, "__total__")
