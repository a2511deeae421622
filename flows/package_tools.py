"""Tools that installed packages bring: found by the entry point group `package_tools`, checked, loaded by their id."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from flows.promptflow.names import install
from flows.promptflow.tools import GIVEN
from workspace.documents import read_yaml
from workspace.errors import Invalid, NotFound, did_you_mean

GROUP = "package_tools"
OWNER = "__studiolo_owner__"
TYPES = ("python", "llm", "prompt", "custom_llm", "csharp")
NEEDED = ("name", "type", "module", "function", "inputs")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageTool:
    """One tool of a package; `written` is its description as the package wrote it, for whoever draws it."""

    id: str
    name: str
    type: str
    module: str
    function: str
    class_name: str = ""
    description: str = ""
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    deprecated: tuple[str, ...] = ()
    package: str = ""
    package_version: str = ""
    written: Mapping[str, Any] = field(default_factory=dict)


def find() -> tuple[dict[str, PackageTool], list[str]]:
    """Return the tools of all installed packages by id, and what could not be used, each as one sentence."""
    install()
    found = {tool_id: tool_from(tool_id, written, package="studiolo") for tool_id, written in BUILTIN.items()}
    problems: list[str] = []
    for point in entry_points(group=GROUP):
        try:
            listed = _listed(point)
        except Exception as error:  # noqa: BLE001 - a package's own code may raise anything; the others still work
            problems.append(f"package {_package(point)[0]!r}: {type(error).__name__}: {error}")
            continue
        for tool_id, written in listed.items():
            try:
                found[tool_id] = tool_from(tool_id, written, package=_package(point)[0], version=_package(point)[1])
            except Invalid as error:
                problems.append(f"package {_package(point)[0]!r}: {error}")
    return found, problems


def load(tool_id: str) -> Callable[..., Any]:
    """Return the function of a tool; a method carries its class as `__studiolo_owner__`.

    An id that a tool says it replaces leads to that tool. Raises NotFound where no package brings it.
    """
    install()
    if tool_id in BUILTIN:
        return function_of(tool_from(tool_id, BUILTIN[tool_id]))
    found, problems = find()
    tool = found.get(tool_id) or next((each for each in found.values() if tool_id in each.deprecated), None)
    if tool is None:
        hint = problems[0] if problems else did_you_mean(tool_id, found) or "install the package that brings it"
        raise NotFound(f"no package tool {tool_id!r}", hint=hint)
    return function_of(tool)


def function_of(tool: PackageTool) -> Callable[..., Any]:
    """Import a tool; raises Invalid where its module has no such function."""
    try:
        module = importlib.import_module(tool.module)
    except ImportError as error:
        raise Invalid(f"tool {tool.id!r}: {error}", hint=f"install what {tool.module} needs") from error
    holder = getattr(module, tool.class_name, None) if tool.class_name else module
    function: Callable[..., Any] | None = getattr(holder, tool.function, None)
    if not callable(function):
        where = ".".join(part for part in (tool.module, tool.class_name) if part)
        raise Invalid(f"tool {tool.id!r}: {where} has no {tool.function!r}")
    if not tool.class_name:
        return function
    # A copy: two classes may share one inherited method.
    method = functools.wraps(function)(lambda *args, **kwargs: function(*args, **kwargs))
    setattr(method, OWNER, holder)
    return method


def tool_from(tool_id: str, written: Mapping[str, Any], *, package: str = "", version: str = "") -> PackageTool:
    """Read the description of one tool; raises Invalid with what is wrong."""
    problems = list(wrong(tool_id, written))
    if problems:
        raise Invalid(problems[0])
    deprecated = written.get("deprecated_tools") or ()
    return PackageTool(
        id=tool_id,
        name=str(written["name"]),
        type=str(written["type"]),
        module=str(written["module"]),
        function=str(written["function"]),
        class_name=str(written.get("class_name") or ""),
        description=str(written.get("description") or ""),
        inputs=written["inputs"] or {},
        deprecated=tuple(map(str, deprecated if isinstance(deprecated, list | tuple) else [deprecated])),
        package=package,
        package_version=version,
        written=written,
    )


def read(file: Path) -> dict[str, PackageTool]:
    """Read a tool YAML: a mapping of ids to tools. Raises Invalid with `file:line:column`."""
    document = read_yaml(file)
    found = {}
    for tool_id, written in document.root.items():
        if problems := list(wrong(str(tool_id), written)):
            raise Invalid(problems[0], at=document.at(tool_id))
        found[str(tool_id)] = tool_from(str(tool_id), written)
    return found


def wrong(tool_id: str, written: Any) -> Iterator[str]:
    """Yield everything that is wrong with the description of a tool, each as one sentence."""
    if not isinstance(written, Mapping):
        yield f"tool {tool_id!r} is no mapping"
        return
    for key in NEEDED:
        if key not in written:
            yield f"tool {tool_id!r} needs `{key}`"
    if written.get("type", TYPES[0]) not in TYPES:
        yield f"tool {tool_id!r} is of unknown type {written['type']!r}: use one of {', '.join(TYPES)}"
    icon = written.get("icon")
    if icon is not None and not isinstance(icon, str) and not _is_two_icons(icon):
        yield f"tool {tool_id!r}: `icon` is an image, or has `light` and `dark`"
    inputs = written.get("inputs") or {}
    if not isinstance(inputs, Mapping):
        yield f"tool {tool_id!r}: `inputs` must be a mapping"
        return
    for name, given in inputs.items():
        yield from _wrong_input(tool_id, str(name), given, inputs)


def choices(func_path: str, arguments: Mapping[str, Any] | None = None, **place: str | None) -> list[dict[str, Any]]:
    """Call the function of a dynamic list and return its choices, each with `value` at least.

    The path is "module.function" or "file.py:function". What the function asks of `subscription_id`,
    `resource_group_name` and `workspace_name` is given from `place`.
    """
    function = _function(func_path)
    parameters = inspect.signature(function).parameters
    given = {name: place.get(name) for name in GIVEN if name in parameters}
    listed = function(**(given | dict(arguments or {})))
    if not isinstance(listed, list) or any(not isinstance(each, Mapping) or "value" not in each for each in listed):
        raise Invalid(f"{func_path!r} must return a list of mappings with `value`, not {listed!r}")
    return [dict(each) for each in listed]


def _wrong_input(tool_id: str, name: str, given: Any, inputs: Mapping[str, Any]) -> Iterator[str]:
    where = f"tool {tool_id!r}, input {name!r}"
    if not isinstance(given, Mapping):
        yield f"{where} is no mapping"
        return
    if not given.get("type"):
        yield f"{where} needs `type`, a list"
    enabled_by = given.get("enabled_by")
    for source in enabled_by if isinstance(enabled_by, list) else [enabled_by] if enabled_by else []:
        if source not in inputs:
            yield f"{where} is enabled by {source!r}, which is no input of the tool"
    for key in ("dynamic_list", "generated_by"):
        setting = given.get(key)
        if setting is None:
            continue
        if not isinstance(setting, Mapping) or not setting.get("func_path"):
            yield f"{where}: `{key}` needs `func_path`"
            continue
        try:
            _function(str(setting["func_path"]))
        except (Invalid, NotFound) as error:
            yield f"{where}: {error}"


def _function(path: str) -> Callable[..., Any]:
    install()
    file, colon, name = path.rpartition(":")
    if colon:
        module = _module_of(Path(file))
    else:
        start, _, name = path.rpartition(".")
        try:
            module = importlib.import_module(start)
        except (ImportError, ValueError) as error:
            raise NotFound(f"{path!r} cannot be imported: {error}") from None
    function: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(function):
        raise NotFound(f"{path!r} is no function")
    return function


def _is_two_icons(icon: Any) -> bool:
    return isinstance(icon, Mapping) and set(icon) <= {"light", "dark"}


def _module_of(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise NotFound(f"no Python file {str(file)!r}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _listed(point: EntryPoint) -> Mapping[str, Mapping[str, Any]]:
    listed: Any = point.load()()
    if not isinstance(listed, Mapping):
        raise TypeError(f"{point.value} returned {type(listed).__name__}, not a mapping of tools")
    return listed


def _package(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else (point.module, "")


def _builtin(
    module: str, function: str, name: str, inputs: Mapping[str, str], class_name: str = ""
) -> dict[str, dict[str, Any]]:
    written: dict[str, Any] = {
        "name": name, "type": "custom_llm" if class_name else "python", "module": module, "function": function,
        "inputs": {key: {"type": kinds.split()} for key, kinds in inputs.items()},
    }  # fmt: skip
    if class_name:
        written["class_name"] = class_name
    return {".".join(part for part in (module, class_name, function) if part): written}


_ASKED = {"temperature": "double", "top_p": "double", "max_tokens": "int", "stop": "list"}

# What flows name without installing anything.
BUILTIN: Mapping[str, Mapping[str, Any]] = {
    **_builtin(
        "promptflow.tools.embedding", "embedding", "Embedding",
        {"connection": "AzureOpenAIConnection OpenAIConnection ServerlessConnection", "deployment_name": "string",
         "model": "string", "input": "string"},
    ),
    **_builtin(
        "promptflow.tools.openai_gpt4v", "chat", "OpenAI GPT-4V",
        {"connection": "OpenAIConnection", "model": "string", **_ASKED}, "OpenAI",
    ),
    **_builtin(
        "promptflow.tools.aoai_gpt4v", "chat", "Azure OpenAI GPT-4 Turbo with Vision",
        {"connection": "AzureOpenAIConnection", "deployment_name": "string", **_ASKED}, "AzureOpenAI",
    ),
    **_builtin(
        "flows.retrieve", "retrieve", "Retrieve",
        {"index": "string", "query": "string", "top_k": "int", "filter": "object", "connection": "string"},
    ),
}  # fmt: skip
