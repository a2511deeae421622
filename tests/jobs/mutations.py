"""Small changes of files, as people make mistakes: keys left out, mistyped, added; values of another kind."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workspace.documents import read_yaml

Way = tuple[str | int, ...]
VALUES: tuple[Any, ...] = (
    5, 0, -1, 1.5, True, False, None, "", "text", "5", "true", [], {}, ["a"], [1], {"a": "b"}, {"a": 1},
    "${{parent.inputs.x}}", "${{inputs.x}}", "azureml:x:1", "azureml:x", "./gone", ".", "https://example.test/x",
)  # fmt: skip


def mutate(root: Any, chance: random.Random) -> Any:
    """Return a root with one small change."""
    changed = copy.deepcopy(root)
    ways = list(_ways(changed))
    way = chance.choice(ways)
    place = changed
    for step in way[:-1]:
        place = place[step]
    change = chance.choice((_drop, _mistype, _add, _replace, _replace, _replace, _turn, _swap))
    change(place, way[-1], chance, changed, ways)
    return changed


def write(root: Any, path: Path) -> None:
    """Write a root as JSON, which all YAML readers read alike."""
    path.write_text(json.dumps(root, default=str))


def root_of(path: Path) -> Any:
    """Return what a file holds, or None where it is no mapping."""
    try:
        root = read_yaml(path).root
    except Exception:  # noqa: BLE001  files of the corpus may be broken on purpose
        return None
    return root if isinstance(root, dict) else None


def _ways(value: Any, before: Way = ()) -> Iterator[Way]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        if key != "$schema":
            yield (*before, key)
            yield from _ways(each, (*before, key))


def _drop(place: Any, key: Any, *_: Any) -> None:
    del place[key]


def _mistype(place: Any, key: Any, chance: random.Random, *_: Any) -> None:
    if isinstance(key, str) and key:
        at = chance.randrange(len(key))
        place[key[:at] + chance.choice(("", "x", "_")) + key[at + 1 :]] = place.pop(key)


def _add(place: Any, _: Any, chance: random.Random, *__: Any) -> None:
    if isinstance(place, dict):
        keys = ("extra", "name", "type", "path", "mode", "version", "description", "tags", "inputs", "compute", "id")
        place[chance.choice(keys)] = chance.choice(VALUES)


def _replace(place: Any, key: Any, chance: random.Random, *_: Any) -> None:
    place[key] = copy.deepcopy(chance.choice(VALUES))


def _turn(place: Any, key: Any, chance: random.Random, *_: Any) -> None:
    value = place[key]
    if isinstance(value, str):
        place[key] = chance.choice((value.upper(), value.capitalize(), value + "x", value.replace("_", ""), [value]))
    elif isinstance(value, bool | int | float):
        place[key] = str(value)
    elif isinstance(value, list):
        place[key] = value[0] if value else {}
    elif isinstance(value, dict):
        place[key] = list(value)


def _swap(place: Any, key: Any, chance: random.Random, root: Any, ways: list[Way]) -> None:
    other = root
    for step in chance.choice(ways):
        other = other[step]
    place[key] = copy.deepcopy(other)
