"""What a file of tools says about itself: asked in a process of its own, because its code runs to answer."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import subprocess
import sys
import types
import typing
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from flows.promptflow.names import install
from flows.promptflow.tools import DynamicList, GeneratedBy, InputSetting, settings_of, type_name
from flows.python_tools import MARK
from workspace.errors import Invalid, NotFound

SECONDS = 60.0


def of_file(path: Path) -> dict[str, dict[str, Any]]:
    """Return the tools of a Python file by their functions' names, each as tool YAML says it."""
    if not path.is_file():
        raise NotFound(f"no file {str(path)!r}", hint="check the path")
    return _asked([str(path.resolve())], folder=path.resolve().parent)


def of_module(name: str) -> dict[str, dict[str, Any]]:
    """Return the tools of an importable module, or of all modules of a package."""
    return _asked([name], folder=Path.cwd())


def describe(module: types.ModuleType) -> dict[str, dict[str, Any]]:
    """Return the tools that a module defines; runs nothing of them."""
    found = {}
    for name, function, owner in _tools(module):
        described = _described(function, owner) | {"module": module.__name__, "function": name}
        if owner:
            described["class_name"] = owner.__name__
        found[f"{owner.__name__}.{name}" if owner else name] = described
    return found


def _described(function: Callable[..., Any], owner: type | None) -> dict[str, Any]:
    settings = settings_of(function)
    given = settings.get("input_settings") or {}
    inputs = {}
    made = dict(inspect.signature(owner).parameters) if owner else {}
    for name, parameter in {**made, **inspect.signature(function).parameters}.items():
        if name in ("self", "args", "kwargs") or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        inputs[name] = _input(parameter, given.get(name), _hints(function).get(name, parameter.annotation))
    extra = dict(settings.get("extra") or {})
    found = {"name": settings.get("name") or function.__name__, "type": settings.get("type") or "python"}
    description = settings.get("description") or inspect.getdoc(function)
    return found | {"inputs": inputs} | ({"description": description} if description else {}) | extra


def _input(parameter: inspect.Parameter, setting: Any, hint: Any) -> dict[str, Any]:
    kinds = [each for each in typing.get_args(hint) if each is not type(None)] if _is_union(hint) else [hint]
    found: dict[str, Any] = {"type": [type_name(each) for each in kinds]}
    if isinstance(hint, type) and issubclass(hint, Enum):
        found |= {"type": ["string"], "enum": [each.value for each in hint]}
    if strong := [each.__name__ for each in kinds if _is_strong(each)]:
        found |= {"type": ["CustomConnection"], "custom_type": strong}
    if parameter.default is not parameter.empty and parameter.default is not None:
        value = parameter.default
        found["default"] = value.value if isinstance(value, Enum) else value
    if isinstance(setting, InputSetting):
        found |= setting.written()
    return found


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _is_strong(hint: Any) -> bool:
    return isinstance(hint, type) and "CustomStrongTypeConnection" in [each.__name__ for each in hint.__mro__[1:]]


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError):
        return {}


def _tools(module: types.ModuleType) -> Iterator[tuple[str, Callable[..., Any], type | None]]:
    for name, value in list(vars(module).items()):
        if getattr(value, MARK, None) == module.__name__ and not inspect.isclass(value):
            yield name, value, None
        elif inspect.isclass(value) and value.__module__ == module.__name__:
            for inner, member in vars(value).items():
                if getattr(member, MARK, None) == module.__name__:
                    yield inner, member, value


def _asked(arguments: list[str], *, folder: Path) -> dict[str, dict[str, Any]]:
    # The tools' own imports see what ours do, and their folder first.
    path = os.pathsep.join([str(folder), *(each for each in sys.path if each)])
    reading, writing = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "flows.tool_meta", str(writing), *arguments],
            cwd=folder, env={**os.environ, "PYTHONPATH": path}, pass_fds=[writing], stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Invalid(f"{arguments[0]} takes longer than {SECONDS:g} seconds to be imported") from None
    finally:
        os.close(writing)
        with os.fdopen(reading) as answer:
            said = answer.read()
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise Invalid(f"{arguments[0]} cannot be imported: {last}", hint="run it with Python to see where")
    found: dict[str, dict[str, Any]] = json.loads(said)
    return found


def _modules(name: str) -> Iterator[types.ModuleType]:
    import pkgutil

    module = importlib.import_module(name)
    yield module
    for info in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
        yield importlib.import_module(info.name)


def main(arguments: list[str]) -> None:
    """Run as `python -m flows.tool_meta FD FILE|MODULE`: the answer goes to the open file of this number."""
    install()
    number, source = int(arguments[0]), arguments[1]
    found: dict[str, Any] = {}
    if source.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(source).stem, source)
        assert spec is not None  # noqa: S101 - the name ends in .py
        assert spec.loader is not None  # noqa: S101
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module
        spec.loader.exec_module(module)
        found = describe(module)
    else:
        for module in _modules(source):
            found |= {f"{module.__name__}.{name}": each for name, each in describe(module).items()}
    with os.fdopen(number, "w") as answer:
        answer.write(json.dumps(found, default=_plain))


def _plain(value: Any) -> Any:
    return value.written() if isinstance(value, DynamicList | GeneratedBy | InputSetting) else repr(value)


if __name__ == "__main__":
    main(sys.argv[1:])
