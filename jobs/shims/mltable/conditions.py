"""Conditions on the rows of a table, as text: compared, never run as code."""

from __future__ import annotations

import ast
import operator
from typing import Any

_COMPARED = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip
_COUNTED = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Mod: operator.mod, ast.BitAnd: operator.and_, ast.BitOr: operator.or_,
}  # fmt: skip


def condition(text: str, frame: Any) -> Any:
    """Return for which rows a condition holds: `col('age') > 30 and col('name') == 'Ann'`. Nothing of it is run."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise ValueError(f"the filter {text!r} cannot be read") from None
    return _value(tree, frame, text)


def _value(node: Any, frame: Any, text: str) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("col", "feature"):
        (name,) = [ast.literal_eval(each) for each in node.args]
        return frame[known(frame, [name])[0]]
    if isinstance(node, ast.BoolOp):
        found = _value(node.values[0], frame, text)
        for each in node.values[1:]:
            other = _value(each, frame, text)
            found = found & other if isinstance(node.op, ast.And) else found | other
        return found
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, frame, text)
        return -inner if isinstance(node.op, ast.USub) else ~inner
    if isinstance(node, ast.BinOp) and type(node.op) in _COUNTED:
        return _COUNTED[type(node.op)](_value(node.left, frame, text), _value(node.right, frame, text))
    if isinstance(node, ast.Compare) and all(type(each) in _COMPARED for each in node.ops):
        sides = [_value(each, frame, text) for each in (node.left, *node.comparators)]
        found = True
        for compare, left, right in zip(node.ops, sides, sides[1:]):
            found = _COMPARED[type(compare)](left, right) & found
        return found
    try:
        return ast.literal_eval(node)
    except ValueError:
        hint = "col('x'), and, or, not, <, == …"
        raise ValueError(f"the filter {text!r} has something that is not known here: {hint}") from None


def known(frame: Any, columns: list[str]) -> list[str]:
    missing = [each for each in columns if each not in frame.columns]
    if missing:
        raise ValueError(f"the table has no column {missing[0]!r}")
    return columns
