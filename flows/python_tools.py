"""Python nodes: loading the one tool of a file, or a tool of an installed package. Runs in the worker process only."""

from __future__ import annotations

import enum
import inspect
import json
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import source_file
from flows.flow import Node
from flows.references import Reference
from flows.values import convert

if TYPE_CHECKING:
    from flows.steps import Kit, Step

MARK = "__studiolo_tool__"
MAIN = "__pf_main__"  # what flow code expects its module to be called
_NAMES = {int: "int", float: "double", bool: "bool", str: "string", list: "list"}
_AS_THEY_ARE = ("Secret", "PromptTemplate", "FilePath")  # of promptflow.contracts.types


def make(node: Node, kit: Kit) -> Step:
    """Make a python or custom_llm node ready; raises ValueError where there is no tool or several."""
    from flows.steps import Step

    function = _packaged(node) if node.source_type != "code" else None
    if function is None:
        assert node.path is not None  # noqa: S101 - the reader asks for it
        function = load(node.path)
    constants = {name: value for name, value in node.inputs.items() if not isinstance(value, Reference)}
    if not inspect.isroutine(function) and not inspect.isclass(function) and callable(function):
        target: Callable[..., Any] = function
    elif (owner := getattr(function, "__studiolo_owner__", None)) is not None:
        target = _bound(owner, function, constants, node, kit)
    else:
        target = function
    if node.source_type == "package_with_prompt":
        _give_prompt(target, node, constants)
    parameters = inspect.signature(target).parameters
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    return Step(
        node=node,
        call=target,
        is_async=inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target),
        accepts=None if takes_any else frozenset(parameters),
        defaults=frozenset(name for name, each in parameters.items() if each.default is not inspect.Parameter.empty),
        constants=_literals(target, constants, kit),
    )


def load(path: Path) -> Callable[..., Any]:
    """Import a file and return its one tool; raises ValueError where it has none or several."""
    module = source_file.load(path, f"{MAIN}{path.stem}_{abs(hash(str(path)))}")
    found: list[Callable[..., Any]] = [
        value for value in vars(module).values() if getattr(value, MARK, None) == module.__name__
    ]
    for value in list(vars(module).values()):
        if inspect.isclass(value) and value.__module__ == module.__name__:
            for member in vars(value).values():
                if getattr(member, MARK, None) == module.__name__:
                    member.__studiolo_owner__ = value
                    found.append(member)
    found = list(dict.fromkeys(found))
    if len(found) != 1:
        raise ValueError(f"{path.name} must hold exactly one function marked @tool, not {len(found)}")
    return found[0]


def mark(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a function as the tool of the module that defines it."""
    setattr(function, MARK, function.__module__)
    return function


def hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a callable, resolved where they can be."""
    try:
        return typing.get_type_hints(function if inspect.isroutine(function) else type(function).__call__)
    except (NameError, TypeError, AttributeError):
        return dict(getattr(function, "__annotations__", {}))


def literal(value: Any, hint: Any) -> Any:
    """Return a literal of the flow file in the type its parameter is annotated with; one of an Enum stays a text."""
    if hint in _NAMES:
        return convert(value, _NAMES[hint])
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return str(value)
    if isinstance(value, str) and getattr(hint, "__name__", "") not in _AS_THEY_ARE:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _packaged(node: Node) -> Callable[..., Any]:
    from flows import package_tools

    return package_tools.load(node.tool)


def _bound(
    owner: type, function: Callable[..., Any], constants: dict[str, Any], node: Node, kit: Kit
) -> Callable[..., Any]:
    """Return the method of an instance; literals named like parameters of `__init__` make the instance."""
    wanted = {
        name: each for name, each in inspect.signature(owner).parameters.items() if name not in ("args", "kwargs")
    }
    for name in wanted:
        if isinstance(node.inputs.get(name), Reference):
            raise TypeError(f"input {name!r} of node {node.name!r} makes the class {owner.__name__}: give a literal")
    given = {name: constants.pop(name) for name in wanted if name in constants}
    made = owner(**_literals(vars(owner).get("__init__", owner), given, kit))
    bound: Callable[..., Any] = getattr(made, function.__name__)
    return bound


def _literals(function: Callable[..., Any], values: Mapping[str, Any], kit: Kit) -> dict[str, Any]:
    if not values:
        return {}
    parameters, annotated = inspect.signature(function).parameters, hints(function)
    return {
        # What only **kwargs takes has no type: it stays as it is written.
        name: _given(value, annotated.get(name, _type_of_default(parameters[name])), kit)
        if name in parameters
        else value
        for name, value in values.items()
    }


def _type_of_default(parameter: inspect.Parameter) -> Any:
    """A parameter without an annotation takes what its default is."""
    return None if parameter.default is parameter.empty else type(parameter.default)


def _given(value: Any, hint: Any, kit: Kit) -> Any:
    """A literal that names a connection, for a parameter that takes one, is that connection."""
    if isinstance(value, str) and _takes_connection(hint):
        from flows.connections import find
        from flows.promptflow.connections import as_promptflow

        return as_promptflow(find(kit.connections, value))
    if getattr(hint, "__name__", "") == "Image":
        from flows.images import create

        return create(value, folder=kit.flow.folder)
    return _with_images(literal(value, hint), kit)


def _with_images(value: Any, kit: Kit) -> Any:
    if not isinstance(value, list | dict):
        return value
    from flows.images import Place, load, settle_all

    return load(settle_all(value, Place(kit.flow.folder)), form=kit.flow.message_format)


def _takes_connection(hint: Any) -> bool:
    parts = typing.get_args(hint) or (hint,)
    return any(getattr(part, "__name__", "").endswith("Connection") for part in parts)


def _give_prompt(function: Callable[..., Any], node: Node, constants: dict[str, Any]) -> None:
    """Fill the one parameter of type PromptTemplate from the node's prompt file."""
    assert node.path is not None  # noqa: S101 - the reader asks for it
    for name, hint in hints(function).items():
        if getattr(hint, "__name__", "") == "PromptTemplate":
            constants[name] = hint(node.path.read_text(encoding="utf-8"))
