"""What is wrong between a node and its file: the function it calls, the prompt it fills, the flow it runs."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flows.flow import MISSING, Flow, Node
from workspace.errors import Invalid, Location, StudioloError, did_you_mean

Found = tuple[str, str | None, Location | None, Literal["error", "warning"]]  # message, hint, place, severity

_TOOL_MODULES = ("promptflow", "promptflow.core", "promptflow.core._tool", "promptflow._core.tool")
_DEEPEST = 8


def problems(flow: Flow, node: Node, *, depth: int = 0) -> Iterator[Found]:
    """Yield what is wrong, as message, hint, place and severity. No code of the flow runs."""
    look = _LOOKS.get(node.type)
    if look is None or (node.path is None and not node.tool):
        return
    try:
        yield from look(flow, node, depth)
    except StudioloError as error:
        yield error.message, error.hint, error.at or node.at, "error"


@dataclass(frozen=True, slots=True)
class _Tool:
    name: str
    takes: frozenset[str]
    needs: frozenset[str]
    takes_any: bool
    line: int


def _python(flow: Flow, node: Node, depth: int) -> Iterator[Found]:
    del flow, depth
    if node.source_type != "code" or node.path is None:
        yield from _packaged(node)
        return
    tree = _parsed(node.path)
    found = _tools(tree)
    if found is None:
        return  # made in a way that only running the file shows
    if len(found) != 1:
        lines = ", ".join(str(each.line) for each in found)
        message = f"{node.path.name} must hold exactly one function marked @tool, not {len(found)}"
        yield message, f"lines {lines}" if found else "put @tool before it", Location(node.path, 1), "error"
        return
    tool = found[0]
    for name in sorted(tool.needs - set(node.inputs)):
        yield f"node {node.name!r} does not give {name!r}, which {tool.name} needs", None, node.at, "error"
    for name in node.inputs:
        if name not in tool.takes and not tool.takes_any:
            hint = did_you_mean(name, tool.takes)
            yield f"{tool.name} does not take {name!r}: node {node.name!r} gives it in vain", hint, node.at, "warning"


def _packaged(node: Node) -> Iterator[Found]:
    from flows import package_tools

    known, broken = package_tools.find()
    if node.tool in known or any(node.tool in tool.deprecated for tool in known.values()):
        return
    hint = broken[0] if broken else did_you_mean(node.tool, known)
    yield f"no package tool {node.tool!r}", hint or "install the package that brings it", node.at, "error"


def _prompt(flow: Flow, node: Node, depth: int) -> Iterator[Found]:
    del flow, depth
    from flows import templates

    assert node.path is not None  # noqa: S101 - the reader asks for it
    parameters: frozenset[str] = frozenset()
    if node.type == "llm":
        from flows.llm import known_parameters

        parameters = known_parameters()
        yield from _headless(node, node.path)
    template = templates.read(node.path)
    for name in sorted(template.names - set(node.inputs)):
        message = f"{node.path.name} shows {name!r}, which node {node.name!r} does not give: it will be empty"
        yield message, did_you_mean(name, set(node.inputs) - template.names), node.at, "warning"
    for name in node.inputs:
        if name not in template.names and name not in parameters:
            hint = did_you_mean(name, template.names | parameters)
            yield (
                f"{node.path.name} does not show {name!r}: node {node.name!r} gives it in vain",
                hint,
                node.at,
                "warning",
            )


def _headless(node: Node, path: Path) -> Iterator[Found]:
    from flows.chat_text import HEADING

    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if node.api != "chat" or "{" in text or HEADING.search(f"{text}\n"):
        return
    yield f"{path.name} has no role: no message begins", "begin with a line `system:`", Location(path, 1), "error"


def _prompty(flow: Flow, node: Node, depth: int) -> Iterator[Found]:
    del node, depth
    from flows import prompty, templates

    read = prompty.load(flow.file)
    at = Location(flow.file, read.body_line)
    template = templates.prepare(read.body, at=at)
    for name in sorted(template.names - set(read.inputs)):
        hint = did_you_mean(name, set(read.inputs) - template.names)
        yield f"the prompt shows {name!r}, which is no input: it will be empty", hint, at, "warning"


def _flow(flow: Flow, node: Node, depth: int) -> Iterator[Found]:
    from flows import graph

    assert node.path is not None  # noqa: S101 - the reader asks for it
    if depth >= _DEEPEST:
        raise Invalid(f"flows within flows go deeper than {_DEEPEST}", hint="does a flow contain itself?", at=node.at)
    inner = graph.load(node.path)
    if inner.file == flow.file:
        raise Invalid(f"node {node.name!r} runs the flow that it is part of", at=node.at)
    for name, declared in inner.inputs.items():
        if declared.default is MISSING and name not in node.inputs:
            yield f"node {node.name!r} does not give {name!r}, which {inner.name} needs", None, node.at, "error"
    for name in node.inputs:
        if name not in inner.inputs:
            hint = did_you_mean(name, inner.inputs)
            yield f"{inner.name} does not take {name!r}: node {node.name!r} gives it in vain", hint, node.at, "warning"
    for each in inner.nodes:
        yield from problems(inner, each, depth=depth + 1)


def _chain(flow: Flow, node: Node, depth: int) -> Iterator[Found]:
    del flow, depth
    if node.path is None:
        return
    tree = _parsed(node.path)
    name = node.source.rpartition(":")[2] if ":" in node.source else "chain"
    known = _names(tree)
    if known is not None and name not in known:
        yield f"no {name!r} in {node.path.name}", did_you_mean(name, known), node.at, "error"


def _names(tree: ast.Module) -> set[str] | None:
    """Return the names that a module's statements give; None where others may come from elsewhere."""
    names: set[str] = set()
    for each in ast.walk(tree):
        if isinstance(each, ast.ImportFrom | ast.Import):
            if any(alias.name == "*" for alias in each.names):
                return None
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in each.names}
        elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(each.name)
        elif isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            names.add(each.id)
    return names


_LOOKS: dict[str, Callable[[Flow, Node, int], Iterator[Found]]] = {
    "python": _python,
    "custom_llm": _python,
    "llm": _prompt,
    "prompt": _prompt,
    "prompty": _prompty,
    "flow": _flow,
    "langchain": _chain,
}


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), filename=path.name)
    except (SyntaxError, ValueError, RecursionError) as error:
        line, column = getattr(error, "lineno", None), getattr(error, "offset", None)
        raise Invalid(f"not Python: {getattr(error, 'msg', error)}", at=Location(path, line, column)) from None


def _tools(tree: ast.Module) -> list[_Tool] | None:
    """Return the functions and methods marked @tool; None where the file may mark them in another way."""
    marks: set[str] = set()
    for statement in ast.walk(tree):
        if isinstance(statement, ast.ImportFrom):
            if any(alias.name == "*" for alias in statement.names):
                return None
            if statement.module in _TOOL_MODULES:
                marks |= {alias.asname or alias.name for alias in statement.names if alias.name == "tool"}
    found = []
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and _is_marked(statement, marks):
            found.append(_tool(statement, []))
        elif isinstance(statement, ast.ClassDef):
            methods = [each for each in statement.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
            made = [each for each in methods if each.name == "__init__"]
            inherits = bool(statement.bases) and not made
            found += [_tool(each, made, inherits=inherits) for each in methods if _is_marked(each, marks)]
    calls = any(isinstance(each, ast.Call) and _name(each.func) in {*marks, "tool"} for each in ast.walk(tree))
    return None if not found and (calls or not marks) else found


def _is_marked(function: ast.FunctionDef | ast.AsyncFunctionDef, marks: set[str]) -> bool:
    names = [_name(each.func if isinstance(each, ast.Call) else each) for each in function.decorator_list]
    return any(name in marks or name == "tool" for name in names)


def _tool(
    function: ast.FunctionDef | ast.AsyncFunctionDef,
    made: list[ast.FunctionDef | ast.AsyncFunctionDef],
    *,
    inherits: bool = False,
) -> _Tool:
    takes: set[str] = set()
    needs: set[str] = set()
    takes_any = inherits or len(function.decorator_list) > 1  # another decorator may change what it takes
    for each in [function, *made]:
        listed = [*each.args.posonlyargs, *each.args.args]
        optional = {argument.arg for argument in listed[len(listed) - len(each.args.defaults) :]}
        optional |= {
            argument.arg
            for argument, default in zip(each.args.kwonlyargs, each.args.kw_defaults, strict=True)
            if default is not None
        }
        names = {argument.arg for argument in [*listed, *each.args.kwonlyargs]} - {"self", "cls"}
        takes |= names
        needs |= names - optional
        takes_any = takes_any or each.args.kwarg is not None
    return _Tool(
        function.name, frozenset(takes), frozenset() if inherits else frozenset(needs), takes_any, function.lineno
    )


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
