"""YAML as people write it (1.2), read once at the border, with the line of every key kept for messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workspace.errors import Invalid, Location, NotFound, did_you_mean

LARGEST = 1_000_000  # bytes
DEEPEST = 50  # levels
MOST_ALIASES = 100

Step = str | int


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed YAML file: plain `dict`, `list` and scalars in `root`, and where each of them was written."""

    path: Path
    root: Any
    _places: Mapping[tuple[Step, ...], tuple[int, int]] = field(repr=False, default_factory=dict)

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
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    _refuse_bombs(text, path)
    try:
        tree = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = Location(path, mark.line + 1, mark.column + 1) if mark else Location(path)
        raise Invalid(f"not YAML: {error.problem or error.context}", at=at) from None
    except (YAMLError, ValueError) as error:
        raise Invalid(f"not YAML: {error}", at=Location(path)) from None
    places: dict[tuple[Step, ...], tuple[int, int]] = {(): (0, 0)}
    return Document(path, _plain(tree, (), places), places)


def _refuse_bombs(text: str, path: Path) -> None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

    depth = aliases = 0
    try:
        for event in YAML(typ="rt", pure=True).parse(text):
            depth += isinstance(event, CollectionStartEvent)
            depth -= isinstance(event, CollectionEndEvent)
            aliases += isinstance(event, AliasEvent)
            if depth > DEEPEST or aliases > MOST_ALIASES:
                what = f"nested deeper than {DEEPEST}" if depth > DEEPEST else f"more than {MOST_ALIASES} aliases"
                raise Invalid(what, at=Location(path, event.start_mark.line + 1, event.start_mark.column + 1))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = Location(path, mark.line + 1, mark.column + 1) if mark else Location(path)
        raise Invalid(f"not YAML: {error.problem or error.context}", at=at) from None
    except YAMLError as error:
        raise Invalid(f"not YAML: {error}", at=Location(path)) from None


def _plain(node: Any, steps: tuple[Step, ...], places: dict[tuple[Step, ...], tuple[int, int]]) -> Any:
    if isinstance(node, dict):
        for key in node:
            if place := (node.lc.data or {}).get(key):
                places[(*steps, key)] = (place[0], place[1])
        return {_scalar(key): _plain(value, (*steps, key), places) for key, value in node.items()}
    if isinstance(node, list):
        for index in range(len(node)):
            if place := (node.lc.data or {}).get(index):
                places[(*steps, index)] = (place[0], place[1])
        return [_plain(value, (*steps, index), places) for index, value in enumerate(node)]
    return _scalar(node)


def _scalar(value: Any) -> Any:
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            # ScalarBoolean is an int to Python; its class name is the only sign.
            return bool(value) if type(value).__name__ == "ScalarBoolean" else kind(value)
    return value


def _kind(value: object) -> str:
    return {dict: "a mapping", list: "a list", str: "text", type(None): "nothing"}.get(type(value), repr(value))
