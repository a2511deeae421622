"""promptfoo's configuration files: each prompt for each provider becomes a task of ours, the tests its rows.

Their assertions go along with the rows, and the scorer `promptfoo` (`evals/scorers/assertions.py`) judges by them.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.scorers.assertions import refuse_unknown
from workspace.documents import Document, read_yaml
from workspace.errors import Invalid, NotFound

ASSERTIONS = "assert"  # the column that carries a test's assertions
THRESHOLD = "threshold"
_OPENAI = re.compile(r"openai:(?:(?:chat|responses|completion|embedding):)?(?P<model>.+)")
_SETTINGS = ("temperature", "max_tokens", "top_p", "seed", "stop", "frequency_penalty", "presence_penalty")
_READ = ("prompts", "providers", "targets", "tests", "defaultTest", "description", "$schema")
_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Imported:
    """A task file's content, ready to be written beside its rows; `name` is a file name without its ending."""

    name: str
    task: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Import:
    """All that came of a configuration: tasks, the rows they share, and what of it was left out, a line each."""

    tasks: tuple[Imported, ...]
    rows: tuple[Mapping[str, Any], ...]
    left_out: tuple[str, ...]


def read(path: Path) -> Import:
    """Read a promptfoo configuration. Raises Invalid with file and line, NotFound for files it names."""
    document = read_yaml(path)
    if not isinstance(document.root, dict) or "prompts" not in document.root:
        raise Invalid("no promptfoo configuration: it has no `prompts:`", at=document.at())
    default = document.get("defaultTest") or {}
    if not isinstance(default, dict):
        raise Invalid("`defaultTest` is a mapping here", at=document.at("defaultTest"))
    rows = tuple(row for test in _tests(document, path.parent) for row in _rows(test, default))
    if not rows:
        raise Invalid("the configuration has no tests", at=document.at("tests"))
    names = sorted({name for row in rows for name in row if name not in (ASSERTIONS, THRESHOLD, "id")})
    title = _NAME.sub("-", str(document.get("description") or path.parent.resolve().name)).strip("-.") or "promptfoo"
    providers, prompts = list(_providers(document)), list(_prompts(document, path.parent))
    tasks = []
    for (label, prompt), (provider, target, generate) in itertools.product(prompts, providers):
        parts = [title, *([label] if len(prompts) > 1 else []), *([provider] if len(providers) > 1 else [])]
        name = "-".join(_NAME.sub("-", part).strip("-.") for part in parts)
        task: dict[str, Any] = {"name": name, "data": "rows.jsonl"}
        task["mapping"] = {each: f"${{data.{each}}}" for each in names} or {"nothing": ""}
        tasks.append(
            Imported(name, task | {"target": target, "generate": generate, **prompt, "scorers": ["promptfoo"]})
        )
    left_out = tuple(f"{document.at(key)}: `{key}` is not taken over" for key in document.root if key not in _READ)
    return Import(tuple(tasks), rows, left_out)


def _prompts(document: Document, folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    listed = document.get("prompts")
    for index, given in enumerate(listed if isinstance(listed, list) else [listed]):
        at = document.at("prompts", index) if isinstance(listed, list) else document.at("prompts")
        label = str(given.get("label") or given.get("id") or "") if isinstance(given, dict) else ""
        text = (given.get("raw") or given.get("id")) if isinstance(given, dict) else given
        if not isinstance(text, str):
            raise Invalid("a prompt is a text, or has `raw:`", at=at)
        if text.startswith("file://") or re.fullmatch(r"[\w./-]+\.(txt|md|json|j2)", text):
            text = _file(folder, text, at).read_text("utf-8-sig")
        for number, part in enumerate(re.split(r"^---\s*$", text, flags=re.MULTILINE), start=1):
            yield label or f"prompt-{index + number}", _messages(part.strip(), at)


def _messages(text: str, at: Any) -> dict[str, str]:
    """Return a prompt as our task says it: a chat as JSON gives its system message and its question."""
    if not text.startswith("["):
        return {"prompt": text}
    try:
        messages = json.loads(text)
        said = [(each["role"], each["content"]) for each in messages]
    except (ValueError, LookupError, TypeError):
        return {"prompt": text}
    roles = [role for role, _ in said]
    if roles not in (["user"], ["system", "user"]):
        raise Invalid("a chat prompt with more than a system message and a question is not taken over", at=at)
    return {"prompt": said[-1][1]} | ({"system": said[0][1]} if len(said) > 1 else {})


def _providers(document: Document) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    key = "providers" if document.get("providers") is not None else "targets"
    listed = document.get(key) or []
    for index, given in enumerate(listed if isinstance(listed, list) else [listed]):
        at = document.at(key, index) if isinstance(listed, list) else document.at(key)
        settings: Mapping[str, Any] = {}
        name, label = given, ""
        if isinstance(given, dict):
            if "id" not in given and len(given) == 1:
                (name, inner), *_ = given.items()
                given = {"id": name, **(inner or {})}
            name, label, settings = given.get("id"), str(given.get("label") or ""), given.get("config") or {}
        found = _OPENAI.fullmatch(str(name))
        if found is None:
            hint = "write it as openai:chat:NAME: our endpoints, and every server at an apiBaseUrl, speak OpenAI"
            raise Invalid(f"provider {name!r} is not taken over", hint=hint, at=at)
        target: dict[str, Any] = {"model": found["model"]}
        if address := settings.get("apiBaseUrl"):
            target["endpoint"] = address
        yield label or found["model"], target, {key: settings[key] for key in _SETTINGS if key in settings}


def _tests(document: Document, folder: Path) -> Iterator[tuple[Mapping[str, Any], Any]]:
    listed = document.get("tests")
    for index, given in enumerate(listed if isinstance(listed, list) else [listed]):
        at = document.at("tests", index) if isinstance(listed, list) else document.at("tests")
        if isinstance(given, str):
            yield from ((test, at) for test in _tests_of(_file(folder, given, at)))
        elif isinstance(given, dict):
            yield given, at
        elif given is not None:
            raise Invalid("a test is a mapping, or names a file of tests", at=at)


def _tests_of(path: Path) -> Iterator[Mapping[str, Any]]:
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from map(_of_csv, csv.DictReader(file))
    elif path.suffix == ".jsonl":
        yield from (json.loads(line) for line in path.read_text("utf-8-sig").splitlines() if line.strip())
    else:
        found = read_yaml(path).root
        yield from found if isinstance(found, list) else [found]


def _of_csv(row: Mapping[str, str]) -> Mapping[str, Any]:
    """Return a test from its row: columns `__expected…` are assertions in short, the others variables."""
    expected = [value for name, value in row.items() if name.startswith("__expected") and value]
    return {
        "vars": {name: value for name, value in row.items() if not name.startswith("__")},
        "assert": [_short(text) for text in expected],
        "description": row.get("__description") or None,
    }


def _short(text: str) -> Mapping[str, Any]:
    kind, colon, value = text.partition(":")
    found = re.fullmatch(r"((?:not-)?[a-z-]+)(?:\(([\d.]+)\))?", kind.strip())
    if kind.strip() in ("llm-rubric", "grade"):
        return {"type": "llm-rubric", "value": value.strip()}
    if not colon and found and found[1] in ("is-json", "contains-json", "not-is-json"):
        return {"type": found[1]}
    if not colon or found is None:
        return {"type": "equals", "value": text}
    many = found[1].removeprefix("not-").removeprefix("i") in ("contains-all", "contains-any")
    made: dict[str, Any] = {
        "type": found[1],
        "value": [part.strip() for part in value.split(",")] if many else value.strip(),
    }
    return made | ({"threshold": float(found[2])} if found[2] else {})


def _rows(given: tuple[Mapping[str, Any], Any], default: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Return the rows of a test: one for each combination of the variables that are lists."""
    test, at = given
    variables = {**(default.get("vars") or {}), **(test.get("vars") or {})}
    assertions = list(_assertions([*(default.get("assert") or []), *(test.get("assert") or [])]))
    for assertion in assertions:
        refuse_unknown(assertion, at=at)
    if taken := {ASSERTIONS, THRESHOLD, "id"} & set(variables):
        raise Invalid(f"a variable cannot be called {min(taken)!r}", hint="rename it", at=at)
    lists = {name: value if isinstance(value, list) else [value] for name, value in variables.items()}
    combinations = list(itertools.product(*lists.values()))
    threshold = test.get("threshold", default.get("threshold"))
    for number, values in enumerate(combinations, start=1):
        row = dict(zip(lists, values, strict=True)) | {ASSERTIONS: assertions}
        if name := test.get("description"):
            row["id"] = f"{name} ({number})" if len(combinations) > 1 else str(name)
        yield row if threshold is None else row | {THRESHOLD: threshold}


def _assertions(listed: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Return the assertions of a test, those of sets with the sets' weight."""
    for each in listed:
        if each.get("type") == "assert-set":
            weight = float(each.get("weight", 1))
            yield from (
                {**inner, "weight": weight * float(inner.get("weight", 1))} for inner in each.get("assert") or []
            )
        else:
            yield each


def _file(folder: Path, name: str, at: Any) -> Path:
    path = folder / name.removeprefix("file://")
    if not path.is_file():
        raise NotFound(f"no file {name!r}", hint="paths begin at the configuration's folder", at=at)
    return path
