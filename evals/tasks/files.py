"""Task files: YAML, or Python with functions marked by `@task`, read once into a Task."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from evals import gate
from evals.tasks.task import (
    APIS,
    TARGET_KEYS,
    Choosing,
    FewShot,
    Limits,
    Scoring,
    Task,
    check_generate,
    check_reducer,
    is_task,
)
from workspace.documents import Document, Step, read_yaml
from workspace.errors import Invalid, NotFound, StudioloError, did_you_mean

KEYS = (
    "$schema", "name", "description", "data", "mapping", "target", "prompt", "prompt_file", "system", "generate",
    "few_shot", "choices", "scorers", "epochs", "slices", "limits", "concurrency", "seed", "baseline", "gate",
)  # fmt: skip
FEW_SHOT_KEYS = ("data", "count", "seed", "by")
EPOCH_KEYS = ("count", "reduce")
LIMIT_KEYS = tuple(each.name for each in dataclasses.fields(Limits))
SCORER_KEYS = ("name", "flow", "mapping", "as")


def load(where: str, *, changes: Mapping[str, Any] | None = None) -> Task:
    """Read a task: `load("sums.yaml")`, `load("tasks.py:sums")`, or `load("tasks.py")` where it has one.

    `changes` go over the file, by dotted keys: {"generate.temperature": 0.5}; for Python they are arguments.
    """
    path, _, function = where.partition(".py:")
    if function or where.endswith(".py"):
        return _from_python(Path(f"{path}.py" if function else where), function, dict(changes or {}))
    return read(Path(where), changes=changes)


def read(path: Path, *, changes: Mapping[str, Any] | None = None) -> Task:
    """Read a task file; Invalid with file and line for what is wrong in it."""
    document = read_yaml(path)
    if not isinstance(document.root, dict):
        raise Invalid("a task is a mapping", hint="it has `data:`, `prompt:` and `scorers:`", at=document.at())
    root = document.root
    for key, value in (changes or {}).items():
        _change(root, key, value)
    document.refuse_unknown(KEYS)
    if "data" not in root:
        raise Invalid("a task needs `data:`", hint="a file beside it: data: rows.jsonl", at=document.at())
    _text(document, "baseline")
    if "gate" in root:
        gate.read(root["gate"], document=document)
    try:
        return Task(
            name=_text(document, "name") or path.stem,
            description=_text(document, "description") or "",
            folder=path.parent.resolve(),
            data=_data(document),
            mapping=_mapping(document, "mapping"),
            target=_target(document),
            prompt=_prompt(document, path),
            system=_text(document, "system"),
            generate=_generate(document),
            few_shot=_few_shot(document),
            choosing=_one_of(document, "choices", get_args(Choosing)),
            scorers=tuple(_scorers(document, path.parent)),
            **_epochs(document),
            slices=tuple(_texts(document, "slices")),
            limits=_limits(document),
            **_numbers(document),
        )
    except StudioloError as error:
        if error.at is None:
            error.at = document.at()
        raise


def _change(root: dict[str, Any], key: str, value: Any) -> None:
    *steps, last = key.split(".")
    inner: Any = root
    for step in steps:
        inner = inner.setdefault(step, {}) if isinstance(inner, dict) else None
        if not isinstance(inner, dict):
            raise Invalid(f"--set {key}: {step!r} is no mapping")
    inner[last] = value


def _data(document: Document) -> Any:
    data = document.get("data")
    if not isinstance(data, str) and not (isinstance(data, list) and all(isinstance(row, dict) for row in data)):
        raise Invalid("`data` is a file's name or a list of rows", at=document.at("data"))
    return data


def _target(document: Document) -> Mapping[str, Any]:
    if isinstance(target := document.get("target"), str):
        return {"model": target}
    if target is None:
        return {}
    document.refuse_unknown(TARGET_KEYS, "target")
    if (api := target.get("api")) not in (None, *APIS):
        raise Invalid(f"there is no API {api!r}", hint=did_you_mean(str(api), APIS), at=document.at("target", "api"))
    return dict(target)


def _prompt(document: Document, path: Path) -> str | None:
    name = _text(document, "prompt_file")
    if name is None:
        return _text(document, "prompt")
    if "prompt" in document.root:
        raise Invalid("`prompt` and `prompt_file`: one of them", at=document.at("prompt_file"))
    try:
        return (path.parent / name).read_text("utf-8-sig")
    except OSError as error:
        raise NotFound(f"no prompt {name!r}: {error.strerror}", at=document.at("prompt_file")) from None


def _few_shot(document: Document) -> FewShot | None:
    if document.get("few_shot") is None:
        return None
    document.refuse_unknown(FEW_SHOT_KEYS, "few_shot")
    given = document.get("few_shot")
    if "data" not in given:
        raise Invalid("`few_shot` needs `data:`", at=document.at("few_shot"))
    for key in ("count", "seed"):
        if given.get(key) is not None:
            _whole(document, given[key], "few_shot", key)
    with _placed(document, "few_shot", "count"):
        return FewShot(**{key: given[key] for key in FEW_SHOT_KEYS if key in given})


def _generate(document: Document) -> Mapping[str, Any]:
    given = _mapping(document, "generate")
    for key, value in given.items():
        with _placed(document, "generate", key):
            check_generate({str(key): value})
    return given


def _scorers(document: Document, folder: Path) -> list[Scoring]:
    listed = document.get("scorers")
    if not isinstance(listed, list) or not listed:
        raise Invalid("a task needs `scorers:`, a list", hint="scorers: [exact]", at=document.at("scorers"))
    return [_scorer(document, index, each, folder) for index, each in enumerate(listed)]


def _scorer(document: Document, index: int, given: Any, folder: Path) -> Scoring:
    if isinstance(given, str):
        return Scoring(name=given, at=document.at("scorers", index))
    at = document.at("scorers", index)
    if not isinstance(given, dict) or ("name" in given) == ("flow" in given):
        raise Invalid("a scorer is a name, or a mapping with `name:` or `flow:`", at=at)
    settings = {key: value for key, value in given.items() if key not in SCORER_KEYS}
    flow = folder / str(given["flow"]) if "flow" in given else None
    if flow is not None and settings:
        raise Invalid(f"a flow as scorer has no setting {min(settings)!r}", hint="map its inputs: mapping:", at=at)
    name = str(given.get("name") or (flow.name if flow else ""))
    return Scoring(
        name=name, settings=settings, flow=flow, mapping=given.get("mapping") or {}, called=str(given.get("as") or ""),
        at=at,
    )  # fmt: skip


def _epochs(document: Document) -> dict[str, Any]:
    given = document.get("epochs")
    if given is None:
        return {}
    if not isinstance(given, dict):
        return {"epochs": _whole(document, given, "epochs", least=1)}
    document.refuse_unknown(EPOCH_KEYS, "epochs")
    count = _whole(document, given.get("count", 1), "epochs", "count", least=1)
    reduce = given.get("reduce", ["mean"])
    if not isinstance(reduce, str | list):
        raise Invalid(f"'reduce' is a list of words, not {reduce!r}", at=document.at("epochs", "reduce"))
    found = (reduce,) if isinstance(reduce, str) else tuple(map(str, reduce))
    with _placed(document, "epochs", "reduce"):
        for each in found:
            check_reducer(each, count)
    return {"epochs": count, "reduce": found}


def _limits(document: Document) -> Limits:
    if document.get("limits") is None:
        return Limits()
    document.refuse_unknown(LIMIT_KEYS, "limits")
    given: dict[str, Any] = document.get("limits")
    for key, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Invalid(f"limit {key!r} is a number, not {value!r}", at=document.at("limits", key))
        with _placed(document, "limits", key):
            Limits(**{key: given[key]})
    return Limits(**given)


def _numbers(document: Document) -> dict[str, Any]:
    least = {"concurrency": 1, "seed": None}
    return {key: _whole(document, document.root[key], key, least=least[key]) for key in least if key in document.root}


def _whole(document: Document, value: Any, *steps: Step, least: int | None = None) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Invalid(f"{steps[-1]!r} is a whole number, not {value!r}", at=document.at(*steps))
    if least is not None and value < least:
        raise Invalid(f"{steps[-1]!r} is at least {least}, not {value}", at=document.at(*steps))
    return value


@contextmanager
def _placed(document: Document, *steps: Step) -> Iterator[None]:
    """Say of what is refused inside where it was written."""
    try:
        yield
    except StudioloError as error:
        error.at = error.at or document.at(*steps)
        raise


def _text(document: Document, key: str) -> str | None:
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise Invalid(f"{key!r} is text, not {value!r}", hint="put it in quotes", at=document.at(key))
    return value


def _texts(document: Document, key: str) -> list[str]:
    value = document.get(key)
    found = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise Invalid(f"{key!r} is a list of words", at=document.at(key))
    return found


def _mapping(document: Document, key: str) -> Mapping[str, Any]:
    value = document.get(key)
    if value is not None and not isinstance(value, dict):
        raise Invalid(f"{key!r} is a mapping", at=document.at(key))
    return dict(value or {})


def _one_of(document: Document, key: str, words: tuple[str, ...]) -> Any:
    value = document.get(key)
    if value is not None and value not in words:
        raise Invalid(f"{key!r} is no {value!r}", hint=did_you_mean(str(value), words), at=document.at(key))
    return value


def _from_python(path: Path, name: str, arguments: dict[str, Any]) -> Task:
    if not path.is_file():
        raise NotFound(f"no file {str(path)!r}", hint="check the path")
    spec = importlib.util.spec_from_file_location(f"studiolo_task_{path.stem}", path)
    assert spec is not None  # noqa: S101 - it ends in .py
    assert spec.loader is not None  # noqa: S101 - it ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses of the file look for their module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent.resolve()))
    marked = {key: value for key, value in vars(module).items() if is_task(value)}
    if name not in marked and (name or len(marked) != 1):
        told = f"no task {name!r} in {str(path)!r}" if name else f"{str(path)!r} has {len(marked)} tasks"
        raise NotFound(
            told, hint=did_you_mean(name, marked) if name else f"name one: {path}:{next(iter(marked), 'NAME')}"
        )
    function = marked[name or next(iter(marked))]
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise Invalid(f"task {function.__name__!r}: {error}", hint="--set gives its parameters") from None
    made = function(**arguments)
    if not isinstance(made, Task):
        raise Invalid(f"task {function.__name__!r} returned {type(made).__name__}", hint="return a Task")
    return dataclasses.replace(made, folder=path.parent.resolve())
