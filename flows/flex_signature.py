"""What the entry of a flex flow takes and gives, read from its source: no code of the flow runs to find out."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.flow import MISSING
from workspace.errors import Invalid, Location, NotFound, did_you_mean

MODEL_CONFIGURATIONS = ("OpenAIModelConfiguration", "AzureOpenAIModelConfiguration")
_PLAIN = {
    "int": "int", "float": "double", "bool": "bool", "str": "string", "list": "list", "List": "list",
    "Sequence": "list", "dict": "object", "Dict": "object", "Mapping": "object", "MutableMapping": "object",
    "Any": "object", "object": "object",
}  # fmt: skip
_STREAMS = frozenset({"Generator", "Iterator", "Iterable", "AsyncGenerator", "AsyncIterator", "AsyncIterable"})
_LIBRARIES = ("typing", "typing_extensions", "collections", "__future__", "dataclasses")
_DEEPEST = 5  # imports that are followed

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Port:
    """A parameter, or a key of the output: its flow type ("" where the source does not say) and default."""

    type: str = ""
    default: Any = MISSING


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What an entry takes and gives. `outputs` is None where it does not say which keys its output has."""

    file: Path
    inputs: Mapping[str, Port] = field(default_factory=dict)
    takes_any: bool = False
    init: Mapping[str, Port] | None = None  # None of a function
    init_takes_any: bool = False
    outputs: Mapping[str, Port] | None = None
    returns: str = ""  # the type of the output as a whole


def infer(folders: tuple[Path, ...], entry: str, *, at: Location | None = None) -> Signature | None:
    """Return what `module:Name` takes, None where its source is not in the folders or defines it in passing.

    Raises NotFound where there is no such module, Invalid where it has no such name or takes what no flow can give.
    """
    module, _, name = entry.partition(":")
    file = find_module(folders, module)
    if file is None:
        if _is_installed(module):
            return None
        known = [path.stem for folder in folders for path in folder.glob("*.py")]
        raise NotFound(f"no module {module!r} beside the flow", hint=did_you_mean(module, known))
    source = _Source(file, folders)
    found = source.find(name)
    if found is None:
        if source.is_open:
            return None
        raise Invalid(f"{file.name} has no {name!r}", hint=did_you_mean(name, source.names), at=at)
    try:
        return _of(*found)
    except RecursionError:
        raise Invalid(f"the bases of {name!r} go round in a circle", at=found[0].at(found[1])) from None


def _of(source: _Source, definition: Function | ast.ClassDef) -> Signature:
    if isinstance(definition, ast.ClassDef):
        return _of_class(source, definition)
    inputs, takes_any = _parameters(source, definition)
    returns, outputs = _returned(source, definition)
    return Signature(file=source.file, inputs=inputs, takes_any=takes_any, outputs=outputs, returns=returns)


def find_module(folders: tuple[Path, ...], module: str) -> Path | None:
    """Return the file of a module that lies in one of the folders."""
    relative = Path(*module.split("."))
    for folder in folders:
        for path in (folder / relative.with_suffix(".py"), folder / relative / "__init__.py"):
            if path.is_file():
                return path
    return None


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


class _Source:
    """One module's source: what it defines at its top, and what it imports."""

    def __init__(self, file: Path, folders: tuple[Path, ...], depth: int = 0) -> None:
        self.file, self._folders, self._depth = file, folders, depth
        try:
            tree = ast.parse(file.read_bytes(), filename=file.name)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            raise Invalid(f"not Python: {getattr(error, 'msg', error)}", at=Location(file, line)) from None
        self._defined: dict[str, ast.stmt] = {}
        self._imported: dict[str, tuple[str, str]] = {}
        self.is_open = False  # whether there may be names that nobody sees
        for statement in _statements(tree.body):
            if isinstance(statement, Function | ast.ClassDef):
                self._defined[statement.name] = statement
            elif isinstance(statement, ast.ImportFrom):
                self._import(statement)
            elif isinstance(statement, ast.Assign | ast.AnnAssign):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                self._defined |= {target.id: statement for target in targets if isinstance(target, ast.Name)}
        self.is_open = self.is_open or "__getattr__" in self._defined

    def _import(self, statement: ast.ImportFrom) -> None:
        package = ""
        if statement.level:
            folder = self.file.parent
            for _ in range(statement.level - 1):
                folder = folder.parent
            base = next((base for base in self._folders if folder.is_relative_to(base)), None)
            package = ".".join(folder.relative_to(base).parts) if base else ""
        module = ".".join(part for part in (package, statement.module) if part)
        for alias in statement.names:
            if alias.name == "*":
                self.is_open = True
            self._imported[alias.asname or alias.name] = (module, alias.name)

    @property
    def names(self) -> list[str]:
        """Return the functions and classes it defines."""
        return [name for name, each in self._defined.items() if isinstance(each, Function | ast.ClassDef)]

    def find(self, name: str) -> tuple[_Source, Function | ast.ClassDef] | None:
        """Return the function or class of this name and where it is defined, following imports within the folders."""
        definition = self._defined.get(name)
        if isinstance(definition, Function | ast.ClassDef):
            return self, definition
        if definition is not None:
            self.is_open = True  # made by an expression
            return None
        if name not in self._imported or self._depth >= _DEEPEST:
            return None
        module, original = self._imported[name]
        file = find_module(self._folders, module)
        if file is None or file == self.file:
            self.is_open = True
            return None
        return _Source(file, self._folders, self._depth + 1).find(original)

    def library(self, name: str) -> str | None:
        """Return the module outside the folders that a name comes from."""
        module = self._imported.get(name, ("", ""))[0]
        return module if module and find_module(self._folders, module) is None else None

    def at(self, node: ast.AST) -> Location:
        """Return where something is written."""
        return Location(self.file, getattr(node, "lineno", None), getattr(node, "col_offset", 0) + 1)


def _statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """What stands at the top of a module, also within `if` and `try`."""
    found: list[ast.stmt] = []
    for statement in body:
        found.append(statement)
        for part in ("body", "orelse", "finalbody"):
            if isinstance(statement, ast.If | ast.Try):
                found += _statements(getattr(statement, part, []))
    return found


def _of_class(source: _Source, definition: ast.ClassDef) -> Signature:
    call = _method(source, definition, "__call__")
    if call is None and not _has_unknown_base(source, definition):
        raise Invalid(
            f"class {definition.name!r} has no `__call__`",
            hint="an entry is a function, or a class with `__call__`",
            at=source.at(definition),
        )
    aggregate = _method(source, definition, "__aggregate__")
    if aggregate is not None and len(_arguments(aggregate[1])) != 1:
        raise Invalid("`__aggregate__` takes exactly one parameter", at=aggregate[0].at(aggregate[1]))
    init = _method(source, definition, "__init__")
    made, init_takes_any = _parameters(*init, init=True) if init else _fields_of(source, definition)
    if call is None:
        return Signature(file=source.file, takes_any=True, init=made, init_takes_any=True)
    inputs, takes_any = _parameters(*call)
    returns, outputs = _returned(*call)
    return Signature(
        file=source.file, inputs=inputs, takes_any=takes_any, init=made, init_takes_any=init_takes_any,
        outputs=outputs, returns=returns,
    )  # fmt: skip


def _method(source: _Source, definition: ast.ClassDef, name: str) -> tuple[_Source, Function] | None:
    for statement in definition.body:
        if isinstance(statement, Function) and statement.name == name:
            return source, statement
    for base in definition.bases:
        found = source.find(_name(base))
        if found and isinstance(found[1], ast.ClassDef) and (inherited := _method(found[0], found[1], name)):
            return inherited
    return None


def _has_unknown_base(source: _Source, definition: ast.ClassDef) -> bool:
    for base in definition.bases:
        found = source.find(_name(base))
        if found is None or (isinstance(found[1], ast.ClassDef) and _has_unknown_base(*found)):  # type: ignore[arg-type]
            return _name(base) != "object"
    return False


def _fields_of(source: _Source, definition: ast.ClassDef) -> tuple[dict[str, Port], bool]:
    """What a dataclass is made with; another class without `__init__` takes nothing, unless a base may."""
    if not _is_dataclass(definition):
        return {}, _has_unknown_base(source, definition)
    return _keys(source, definition, init=True), False


def _arguments(function: Function) -> list[ast.arg]:
    listed = [*function.args.posonlyargs, *function.args.args]
    is_static = any(_name(each) == "staticmethod" for each in function.decorator_list)
    is_method = bool(listed) and listed[0].arg in ("self", "cls") and not is_static
    return [*(listed[1:] if is_method else listed), *function.args.kwonlyargs]


def _parameters(source: _Source, function: Function, *, init: bool = False) -> tuple[dict[str, Port], bool]:
    listed = [*function.args.posonlyargs, *function.args.args]
    defaults: dict[str, ast.expr | None] = {}
    if function.args.defaults:
        written = listed[-len(function.args.defaults) :]
        defaults |= {arg.arg: value for arg, value in zip(written, function.args.defaults, strict=True)}
    defaults |= {
        arg.arg: value for arg, value in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True) if value
    }
    found = {}
    for argument in _arguments(function):
        default = MISSING if argument.arg not in defaults else _literal(defaults[argument.arg])
        found[argument.arg] = Port(_kind(source, argument.annotation, argument, init=init), default)
    return found, function.args.kwarg is not None


def _literal(value: ast.expr | None) -> Any:
    """Return a default; one that only running the code would tell is None, and the function's own is used."""
    try:
        return None if value is None else ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _returned(source: _Source, function: Function) -> tuple[str, dict[str, Port] | None]:
    annotation = _unquoted(function.returns)
    if annotation is None:
        return "string", None
    name = _name(annotation)
    if name in _STREAMS:
        return "string", None
    found = source.find(name) if name else None
    if found and isinstance(found[1], ast.ClassDef) and _has_keys(*found):  # type: ignore[arg-type]
        return "object", _keys(found[0], found[1])
    return _kind(source, annotation, function) or "object", None


def _keys(source: _Source, definition: ast.ClassDef, *, init: bool = False) -> dict[str, Port]:
    found = {}
    for statement in definition.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            default = _literal(statement.value) if statement.value is not None else MISSING
            found[statement.target.id] = Port(_kind(source, statement.annotation, statement, init=init), default)
    return found


def _has_keys(source: _Source, definition: ast.ClassDef) -> bool:
    """Whether a class is a TypedDict or a dataclass."""
    if _is_dataclass(definition):
        return True
    for base in definition.bases:
        if _name(base) == "TypedDict":
            return True
        found = source.find(_name(base))
        if found and isinstance(found[1], ast.ClassDef) and _has_keys(*found):  # type: ignore[arg-type]
            return True
    return False


def _is_dataclass(definition: ast.ClassDef) -> bool:
    return any(
        _name(each.func if isinstance(each, ast.Call) else each) == "dataclass" for each in definition.decorator_list
    )


def _kind(source: _Source, annotation: ast.expr | None, where: ast.AST, *, init: bool = False) -> str:
    """Return the flow type of an annotation, "" where there is none; raises Invalid for a type no flow can give."""
    annotation = _unquoted(annotation)
    if annotation is None or (isinstance(annotation, ast.Constant) and annotation.value is None):
        return ""
    if choices := _choices(annotation):
        kinds = {_kind(source, each, where, init=init) for each in choices}
        return kinds.pop() if len(kinds) == 1 else "object"
    name = _name(annotation)
    if name in ("Annotated", "Required", "NotRequired", "Final") and isinstance(annotation, ast.Subscript):
        inner = annotation.slice
        return _kind(source, inner.elts[0] if isinstance(inner, ast.Tuple) else inner, where, init=init)
    if name == "Literal":
        return "object"
    found = source.find(name)
    if found is None and name in _PLAIN:
        return _PLAIN[name]
    if init and (name.endswith("Connection") or name in MODEL_CONFIGURATIONS):
        return name
    if found and isinstance(found[1], ast.ClassDef) and _has_keys(*found):  # type: ignore[arg-type]
        return "object"
    library = source.library(name.partition(".")[0])
    if found is None and library and library.partition(".")[0] not in _LIBRARIES:
        return "object"  # a class of an installed package: what it is shows when it is imported
    raise Invalid(
        f"a flow cannot give a value of type {ast.unparse(annotation)}",
        hint="use int, float, bool, str, list, dict, a TypedDict or a dataclass",
        at=source.at(where),
    )


def _choices(annotation: ast.expr) -> list[ast.expr]:
    """Return what `A | B`, Optional[A] and Union[A, B] may be, without None."""
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        listed = [
            *(_choices(annotation.left) or [annotation.left]),
            *(_choices(annotation.right) or [annotation.right]),
        ]
    elif isinstance(annotation, ast.Subscript) and _name(annotation) in ("Optional", "Union"):
        listed = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    else:
        return []
    return [each for each in listed if not (isinstance(each, ast.Constant) and each.value is None)]


def _unquoted(annotation: ast.expr | None) -> ast.expr | None:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            return ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            return None
    return annotation


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
