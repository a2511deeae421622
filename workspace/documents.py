"""YAML as people write it (1.2), read once at the border, with the line of every key kept for messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workspace.errors import Invalid, Location, NotFound, StudioloError, did_you_mean

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

LARGEST = 1_000_000  # bytes
DEEPEST = 50  # levels
MOST_ALIASES = 100
MOST_VALUES = 100_000  # a small file with aliases can stand for very many
PLACEHOLDER = re.compile(r"(?<!\$)\{\{\s*[\w.-]+\s*\}\}|<[A-Z][A-Z0-9_]{2,}>")

Step = str | int
Steps = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed YAML file: plain `dict`, `list` and scalars in `root`, and where each of them was written."""

    path: Path
    root: Any
    _places: Mapping[Steps, tuple[int, int]] = field(repr=False, default_factory=dict)

    def at(self, *steps: Step) -> Location:
        """Return where the key or item was written: `document.at("nodes", 0, "name")`; else its nearest parent."""
        for length in range(len(steps), -1, -1):
            if place := self._places.get(steps[:length]):
                return Location(self.path, place[0] + 1, place[1] + 1)
        return Location(self.path)

    def refuse_unknown(self, known: Iterable[str], *steps: Step) -> None:
        """Raise Invalid with line and a did-you-mean for the first key under `steps` that nobody knows."""
        names = frozenset(known)
        mapping = self.get(*steps)
        if not isinstance(mapping, dict):
            raise Invalid(f"expected a mapping, not {_kind(mapping)}", at=self.at(*steps))
        for key in mapping:
            if key not in names:
                raise Invalid(f"unknown key {key!r}", hint=did_you_mean(str(key), names), at=self.at(*steps, key))

    def get(self, *steps: Step) -> Any:
        """Return the value under `steps`, or None where there is none."""
        value = self.root
        for step in steps:
            if isinstance(value, dict):
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int) and step < len(value):
                value = value[step]
            else:
                return None
        return value


def read_yaml(path: Path) -> Document:
    """Read one YAML 1.2 document safely: no tags, duplicate keys refused, size, depth and aliases bounded.

    Raises NotFound where there is no file, Invalid with line and column where it cannot be read.
    """
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"no file {str(path)!r}", hint="check the path") from None
    except OSError as error:
        raise Invalid(f"cannot read: {error.strerror}", at=Location(path)) from error
    if len(raw) > LARGEST:
        raise Invalid(f"larger than {LARGEST:,} bytes", at=Location(path))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Invalid("not UTF-8", hint="save the file as UTF-8", at=Location(path, line)) from error
    return parse_yaml(text, path=path)


def parse_yaml(text: str, *, path: Path = Path("<text>")) -> Document:
    """Parse YAML text as `read_yaml` does; `path` is what messages call it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.composer import MaxDepthExceededError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = DEEPEST + 1
    try:
        tree = yaml.compose(text)
        return _Reading(path).document(tree)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = Location(path, mark.line + 1, mark.column + 1) if mark else Location(path)
        too_deep = isinstance(error, MaxDepthExceededError)
        what = f"nested deeper than {DEEPEST} levels" if too_deep else f"not YAML: {error.problem or error.context}"
        raise Invalid(what, at=at) from None
    except (YAMLError, ValueError) as error:
        raise Invalid(f"not YAML: {str(error).splitlines()[0]}", at=Location(path)) from None


def told_of_placeholders(path: Path, error: StudioloError) -> StudioloError:
    """Return the error with the hint that fits a file whose placeholders nobody has filled in."""
    try:
        found = PLACEHOLDER.search(path.read_text(errors="replace"))
    except OSError:
        return error
    if found is not None:
        error.hint = f"replace the placeholder {found[0]} first"
    return error


class _Reading:
    """One walk over the nodes of a file: plain values out, places noted, what is unsafe refused."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[Steps, tuple[int, int]] = {(): (0, 0)}
        self._seen: set[int] = set()
        self._aliases = 0
        self._values = 0

    def document(self, tree: Node | None) -> Document:
        return Document(self._path, None if tree is None else self._value(tree, ()), self._places)

    def _value(self, node: Node, steps: Steps) -> Any:
        if len(steps) > DEEPEST:
            raise self._refused(f"nested deeper than {DEEPEST} levels", node)
        self._values += 1
        if self._values > MOST_VALUES:
            raise self._refused(f"more than {MOST_VALUES:,} values", node)
        if not isinstance(node.value, list):
            return self._scalar(node)
        # A node met again stands for an alias, and all that is under it is copied once more.
        self._aliases += id(node) in self._seen
        self._seen.add(id(node))
        if self._aliases > MOST_ALIASES:
            raise self._refused(f"more than {MOST_ALIASES} aliases", node)
        if node.tag == f"{_CORE}seq":
            return [self._item(child, (*steps, index)) for index, child in enumerate(node.value)]
        if node.tag == f"{_CORE}map":
            return self._mapping(node, steps)
        raise self._refused(f"tag {_shown(node.tag)} is not allowed", node, hint="write the plain value")

    def _item(self, node: Node, steps: Steps) -> Any:
        self._note(node, steps)
        return self._value(node, steps)

    def _mapping(self, node: Node, steps: Steps) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_CORE}merge":
                for source in reversed(value_node.value if value_node.tag == f"{_CORE}seq" else [value_node]):
                    if source.tag != f"{_CORE}map":
                        raise self._refused("only mappings can be merged with <<", source)
                    merged |= self._value(source, steps)
                continue
            if isinstance(key_node.value, list):
                raise self._refused("a key must be text or a number", key_node)
            key = self._scalar(key_node)
            if key in found:
                raise self._refused(f"key {key!r} is here twice", key_node, hint="keep one of them")
            self._note(key_node, (*steps, key))
            found[key] = self._value(value_node, (*steps, key))
        return found | {key: value for key, value in merged.items() if key not in found}

    def _scalar(self, node: Node) -> Any:
        read = _SCALARS.get(str(node.tag))
        if read is None:
            raise self._refused(f"tag {_shown(node.tag)} is not allowed", node, hint="write the plain value")
        try:
            return read(node.value)
        except ValueError:
            raise self._refused(f"{node.value!r} is no {_shown(node.tag)[2:]}", node) from None

    def _note(self, node: Node, steps: Steps) -> None:
        self._places[steps] = (node.start_mark.line, node.start_mark.column)

    def _refused(self, what: str, node: Node, *, hint: str | None = None) -> Invalid:
        return Invalid(what, hint=hint, at=Location(self._path, node.start_mark.line + 1, node.start_mark.column + 1))


def _whole(text: str) -> int:
    digits = text.replace("_", "")
    return int(digits) if digits.lstrip("+-").isdecimal() else int(digits, 0)


def _float(text: str) -> float:
    # YAML writes ".inf" and ".nan" where Python writes "inf" and "nan".
    digits = text.replace("_", "").lower()
    return float(digits.replace(".", "", 1) if digits.endswith(("inf", "nan")) else digits)


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_CORE = "tag:yaml.org,2002:"
_SCALARS: Mapping[str, Callable[[str], Any]] = {
    f"{_CORE}str": str,
    f"{_CORE}int": _whole,
    f"{_CORE}float": _float,
    f"{_CORE}bool": _truth,
    f"{_CORE}null": lambda _: None,
    # YAML 1.2 has no dates: "2024-05-01" is text, as it is in JSON.
    f"{_CORE}timestamp": str,
    f"{_CORE}merge": str,
    f"{_CORE}value": str,
}


def _shown(tag: str | None) -> str:
    tag = str(tag)
    return "!!" + tag.removeprefix(_CORE) if tag.startswith(_CORE) else tag


def _kind(value: object) -> str:
    return {dict: "a mapping", list: "a list", str: "text", type(None): "nothing"}.get(type(value), repr(value))
