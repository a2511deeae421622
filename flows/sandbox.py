"""The Jinja in which prompts are rendered: everything prompts use, and nothing that reaches out or grows without end.

Attributes that begin with an underscore, imports and files are out of reach. What a hostile template could make huge
(text, lists, numbers, loops, recursion) is counted while it renders, and refused where it passes a bound.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Template, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment
from jinja2.visitor import NodeTransformer

LONGEST = 1_000_000  # characters of a rendered prompt
BIGGEST = 20_000_000  # characters of one value on the way there
MOST_ITEMS = 500_000  # of one value, with all that is in it
MOST_MADE = 200_000_000  # characters and items of all values together
MOST_STEPS = 250_000  # calls, filters and turns of loops
MOST_SECONDS = 10.0  # of computing
WIDEST_NUMBER = 100_000  # bits

# Filters and methods whose numbers say how much they make, and those that turn whole values into text.
_SIZED = frozenset(
    {"batch", "center", "indent", "ljust", "rjust", "round", "slice", "to_bytes", "tojson", "truncate", "wordwrap",
     "zfill"}
)  # fmt: skip
_TEXTUAL = frozenset(
    {"capitalize", "center", "e", "escape", "forceescape", "format", "indent", "join", "lower", "pprint", "replace",
     "safe", "string", "striptags", "title", "tojson", "trim", "truncate", "upper", "urlencode", "urlize", "wordcount",
     "wordwrap", "xmlattr"}
)  # fmt: skip
_GROWING = frozenset({"append", "extend", "insert", "setdefault", "update"})
_WIDTHS = re.compile(r"\d+")


@dataclass(slots=True)
class Budget:
    """What one rendering may still use up."""

    steps: int = MOST_STEPS
    made: int = MOST_MADE
    until: float = field(default_factory=lambda: time.thread_time() + MOST_SECONDS)

    def step(self, count: int = 1) -> None:
        """Count work; raises SecurityError where it was too much."""
        self.steps -= count
        if self.steps < 0:
            raise SecurityError(f"it takes more than {MOST_STEPS:,} steps")
        if self.steps % 64 == 0 or count > 1:
            self._look_at_clock()

    def make(self, size: int) -> None:
        """Count what is made; raises SecurityError where one thing, or all together, is too big."""
        if size > BIGGEST:
            raise SecurityError(f"it makes a value of more than {BIGGEST:,} characters")
        self.made -= size
        if self.made < 0:
            raise SecurityError(f"it makes more than {MOST_MADE:,} characters on the way")
        if size > 10_000:
            self._look_at_clock()

    def _look_at_clock(self) -> None:
        if time.thread_time() > self.until:
            raise SecurityError(f"it takes more than {MOST_SECONDS:g} seconds")


_BUDGET: ContextVar[Budget] = ContextVar("studiolo_template_budget")


@contextmanager
def budget() -> Iterator[Budget]:
    """Give what is compiled or rendered inside a budget of its own."""
    token = _BUDGET.set(made := Budget())
    try:
        yield made
    finally:
        _BUDGET.reset(token)


class Sandbox(SandboxedEnvironment):
    """Jinja as prompt flow sets it up. `{% set _ = items.append(x) %}` works: the values given are copies."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, keep_trailing_newline=True, finalize=_output)
        del self.globals["lipsum"]  # makes text of any length, and no prompt needs it
        self.filters = {name: _bounded(name, function) for name, function in self.filters.items()}
        self.filters |= {"studiolo_counted": _counted, "studiolo_joined": _joined, "studiolo_spread": _spread}

    def compiled(self, tree: nodes.Template) -> Template:
        """Return a parsed template made ready, with its loops, lists and joins counted."""
        counted = _Counting().visit(tree)
        with budget():
            return Template.from_code(self, self.compile(counted), self.make_globals(None))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Do `+ * ** %` where the result stays small."""
        _BUDGET.get().make(_size_of(operator, left, right))
        return super().call_binop(context, operator, left, right)

    # Named as in Jinja, so that a template's own keyword arguments cannot collide.
    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call what a template calls, counted."""
        spent = _BUDGET.get()
        spent.step()
        method = getattr(__obj, "__wrapped__", __obj)
        owner = getattr(method, "__self__", None)
        if isinstance(owner, str | bytes | int | list | dict):
            _check_call(str(getattr(method, "__name__", "")), owner, args, kwargs)
        result = super().call(__context, __obj, *args, **kwargs)
        if isinstance(result, str | bytes | list | tuple | dict):
            spent.make(len(result))
        return result


class _Counting(NodeTransformer):
    """Puts a count on every loop, join and nested value of a template."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - the visitor's names
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "studiolo_counted")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "studiolo_joined")

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        return self._made(node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        return self._made(node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        return node if node.ctx == "store" else self._made(node)

    def _made(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return node if node.find(nodes.Name) is None else _filtered(node, "studiolo_spread")


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def weigh(value: Any) -> int:
    """Return about how long a value is as text; raises SecurityError where that is too long."""
    if isinstance(value, str | bytes):
        return len(value)
    if not isinstance(value, list | tuple | dict | set | frozenset):
        return 16
    total, items = 0, 0
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        items += 1
        if isinstance(item, dict):
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, list | tuple | set | frozenset):
            waiting.extend(item)
        total += 2 + (len(item) if isinstance(item, str | bytes) else 0)
        if total > BIGGEST or items > MOST_ITEMS:
            raise SecurityError(f"it makes a value of more than {BIGGEST:,} characters or {MOST_ITEMS:,} items")
    return total


def _output(value: Any) -> Any:
    if isinstance(value, list | tuple | dict | set | frozenset):
        _BUDGET.get().make(weigh(value))
    return value


def _counted(items: Any) -> Any:
    spent = _BUDGET.get()
    if hasattr(items, "__len__"):
        spent.step(1 + len(items))
        return items
    return _counted_one_by_one(items, spent) if hasattr(items, "__iter__") else items


def _counted_one_by_one(items: Iterable[Any], spent: Budget) -> Iterator[Any]:
    for item in items:
        spent.step()
        yield item


def _joined(parts: list[Any]) -> str:
    _BUDGET.get().make(sum(weigh(part) for part in parts))
    return "".join(str(part) for part in parts)


def _spread(made: Any) -> Any:
    """A list in a list in a list … stands for very many items while it is small itself."""
    _BUDGET.get().make(weigh(made))
    return made


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a filter so that its work and what it makes are counted. Jinja's own marks on it are kept."""
    skipped = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        spent = _BUDGET.get()
        spent.step()
        given = args[skipped:]
        if name in _TEXTUAL:
            given = tuple(list(each) if isinstance(each, Iterator) else each for each in given)
            spent.make(sum(weigh(each) for each in (*given, *kwargs.values())))
        if given:
            _check_call(name, given[0], given[1:], kwargs)
        result = function(*args[:skipped], *given, **kwargs)
        if isinstance(result, str | bytes | list | tuple | dict):
            spent.make(len(result))
        return result

    return bounded


def _check_call(name: str, owner: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse a filter or a method of a builtin that would make too much of too little."""
    spent = _BUDGET.get()
    values = [*args, *kwargs.values()]
    numbers = [abs(each) for each in values if isinstance(each, int)]
    if name in _SIZED and numbers:
        lines = owner.count("\n") + 1 if name in ("indent", "wordwrap") and isinstance(owner, str) else 1
        spent.make(max(numbers) * lines)
    elif name == "expandtabs":
        spent.make(len(owner) * max([8, *numbers]))
    elif name == "replace" and len(args) > 1:
        spent.make(_replaced(str(owner), str(args[0]), str(args[1])))
    elif name == "join":
        _check_join(owner, values)
    elif name == "format":
        spent.make(_formatted(str(owner), values))
    elif name == "format_map" and args and isinstance(args[0], dict):
        spent.make(_formatted(str(owner), [*args[0].values()]))
    elif name in _GROWING:
        spent.make(len(owner) + sum(weigh(each) for each in values))


def _check_join(owner: Any, values: list[Any]) -> None:
    """`", ".join(items)` and `items | join(", ")`: the separator comes as often as there are items."""
    separator = owner if isinstance(owner, str) else next((each for each in values if isinstance(each, str)), "")
    items = next((each for each in (owner, *values) if isinstance(each, list | tuple | dict)), ())
    _BUDGET.get().make(len(items) * len(separator) + weigh(items))


def _replaced(text: str, old: str, new: str) -> int:
    return len(text) + len(new) * (text.count(old) if old else len(text) + 1)


def _formatted(form: str, values: Iterable[Any]) -> int:
    """Widths written into a format, or handed to it where it says `*` or `{:{}}`."""
    given = list(values)
    written = sum(min(int(digits[:12]), BIGGEST + 1) for digits in _WIDTHS.findall(form))
    nested = form.count("*") + form.count("{:{") + form.count("{")
    handed = max([abs(each) for each in _flat(given) if isinstance(each, int)], default=0)
    fields = form.count("%") + form.count("{")
    return len(form) + written + min(nested, fields) * handed * _asks_width(form) + fields * sum(map(weigh, given))


def _asks_width(form: str) -> int:
    return int("*" in form or re.search(r"\{[^{}]*:[^{}]*\{", form) is not None)


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        yield from value if isinstance(value, tuple | list) else (value,)


def _size_of(operator: str, left: Any, right: Any) -> int:
    if operator == "%" and isinstance(left, str | bytes):
        return _formatted(str(left), _flat([right]) if not isinstance(right, dict) else right.values())
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * max(right, 0) if operator == "**" else left.bit_length() + right.bit_length()
        if bits > WIDEST_NUMBER:
            raise SecurityError(f"it makes a number of more than {WIDEST_NUMBER:,} bits")
        return 1
    left_size, right_size = (len(each) if isinstance(each, str | bytes | list | tuple) else 0 for each in (left, right))
    if operator == "*":
        times = right if left_size else left
        return (left_size + right_size) * max(times, 0) if isinstance(times, int) else 1
    return left_size + right_size
