"""Tests by name in their files, for pages of promises that each name one."""

from __future__ import annotations

import ast
from pathlib import Path


def marks_in(path: Path) -> dict[str, set[str]]:
    """Return the tests of a file, each with the marks that stand over it; those of single parameters do not count."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            marks = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
            found[node.name] = {each.attr for each in marks if isinstance(each, ast.Attribute)}
    return found
