"""Tools of packages and flows: listed, checked, and made from a template."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import flows
from flows import package_tools, templates, tool_meta
from workspace.errors import Conflict, Invalid, StudioloError
from workspace.paths import writing

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def list_tools(flow: Path | None = None) -> dict[str, Any]:
    """Return the tools of all installed packages, and those in the code of a flow."""
    found, problems = package_tools.find()
    listed = {
        tool.id: {**tool.written, "package": tool.package, "package_version": tool.package_version}
        for tool in found.values()
    }
    shown: dict[str, Any] = {"package": listed, "code": _code(flow) if flow else {}}
    return shown | ({"problems": problems} if problems else {})


def check(source: str) -> dict[str, Any]:
    """Check the tools of a file, a package or a function: how many there are, and what is wrong with which."""
    try:
        tools = _read(source)
    except StudioloError as error:
        return _result(1, [{"message": str(error), "source": source}])
    if not tools:
        return _result(1, [{"message": f"{source} holds no function marked @tool", "source": source}])
    problems = []
    for name, written in tools.items():
        icon = written.get("icon")
        wrong = list(package_tools.wrong(name, {**written, "inputs": _without_functions(written["inputs"])}))
        if isinstance(icon, str) and not icon.startswith("data:") and not Path(icon).is_file():
            wrong.append(f"tool {name!r}: no icon {icon!r}")
        problems += [{"message": message, "tool": name} for message in wrong]
    return _result(len(tools), problems)


def make(
    folder: Path, tool: str, *, package: str | None = None, extra: Mapping[str, str] | None = None
) -> Iterator[Path]:
    """Write a tool, into a package where one is named, and yield each file; Conflict where the tool is there."""
    for name in (tool, package or tool):
        if not _NAME.match(name):
            raise Invalid(f"{name!r} cannot name a tool or package", hint="letters, digits and _")
    settings = "".join(f"    {key}={_literal(value)},\n" for key, value in (extra or {}).items())
    source = _TOOL.format(tool=tool, settings=settings)
    if package is None:
        yield _new(folder / f"{tool}.py", source)
        return
    root = folder / package
    yield _new(root / package / f"{tool}.py", source)
    described = {
        f"{package}.{tool}.{tool}": {
            "name": tool, "type": "python", "module": f"{package}.{tool}", "function": tool,
            "description": f"What {tool} does",
            "inputs": {"connection": {"type": ["CustomConnection"]}, "input_text": {"type": ["string"]}},
            **(extra or {}),
        }
    }  # fmt: skip
    yield _new(root / package / "yamls" / f"{tool}.yaml", json.dumps(described, indent=2) + "\n")
    for name, text in _PACKAGE.items():
        file = root / name.replace("PACKAGE", package)
        if not file.exists():
            yield _new(file, text.replace("PACKAGE", package))


def _read(source: str) -> dict[str, dict[str, Any]]:
    path = Path(source)
    if path.suffix == ".py" or path.is_file():
        return tool_meta.of_file(path)
    if "." not in source:
        return tool_meta.of_module(source)
    module, _, name = source.rpartition(".")
    try:
        found = tool_meta.of_module(module)
    except StudioloError:
        return tool_meta.of_module(source)
    return {key: each for key, each in found.items() if each["function"] == name} or tool_meta.of_module(source)


def _code(folder: Path) -> dict[str, Any]:
    flow = flows.load(folder)
    found: dict[str, Any] = {}
    for node in flow.nodes:
        if node.path is None or not node.path.is_file():
            continue
        if node.path.suffix == ".py":
            for described in tool_meta.of_file(node.path).values():
                kept = {key: value for key, value in described.items() if key not in ("module", "name")}
                found[node.source] = {**kept, "source": node.source}
        elif node.type in ("llm", "prompt"):
            names = sorted(templates.read(node.path).names)
            found[node.source] = {
                "type": node.type, "inputs": {name: {"type": ["string"]} for name in names}, "source": node.source,
            }  # fmt: skip
    return found


def _without_functions(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Functions of a file are found where it was read, by another name than they have here."""
    return {
        name: {key: value for key, value in each.items() if key not in ("dynamic_list", "generated_by")}
        for name, each in inputs.items()
    }


def _result(count: int, problems: list[dict[str, str]]) -> dict[str, Any]:
    invalid = len({each.get("tool", each.get("source")) for each in problems})
    found: dict[str, Any] = {"result": "Failed" if problems else "Succeeded", "total_count": count}
    return found | {"invalid_count": invalid} | ({"errors": problems} if problems else {})


def _literal(value: str) -> str:
    try:
        return repr(json.loads(value))
    except ValueError:
        return repr(value)


def _new(file: Path, text: str) -> Path:
    if file.exists():
        raise Conflict(f"{file} is there already", hint="choose another name")
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return file


_TOOL = """\
from promptflow.connections import CustomConnection
from promptflow.core import tool


@tool(
    name="{tool}",
    description="What {tool} does",
{settings})
def {tool}(connection: CustomConnection, input_text: str) -> str:
    # The connection's configs and secrets are its attributes: connection.api_key.
    return "Hello " + input_text
"""

_PACKAGE = {
    "setup.py": """\
from setuptools import find_packages, setup

setup(
    name="PACKAGE",
    version="0.0.1",
    packages=find_packages(),
    install_requires=["ruamel.yaml"],
    package_data={"PACKAGE": ["yamls/*.yaml"]},
    entry_points={"package_tools": ["PACKAGE = PACKAGE.utils:list_package_tools"]},
)
""",
    "MANIFEST.in": "include PACKAGE/yamls/*.yaml\n",
    "README.md": """\
# PACKAGE

Tools for prompt flows. Each tool is a function in a module of its own and a description in `PACKAGE/yamls`.
After `pip install -e .` flows name a tool by its id, such as `PACKAGE.module.function`.
""",
    "PACKAGE/__init__.py": "",
    "PACKAGE/utils.py": '''\
"""Lists the tools of this package."""

from pathlib import Path

from ruamel.yaml import YAML


def list_package_tools():
    """Return the description of each tool by its id."""
    found = {}
    for file in sorted((Path(__file__).parent / "yamls").glob("*.yaml")):
        found.update(YAML(typ="safe").load(file.read_text(encoding="utf-8")))
    return found
''',
}
