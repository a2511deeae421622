"""A model's card, as its authors wrote it: README.md with facts in YAML before the text. It is read, never run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from catalog.licenses import License, explained

LARGEST = 1_000_000  # characters of a card
_LARGEST_FACTS = 200_000  # characters before its text
_MOST = 500  # results, tags, datasets …
_LONGEST = 300  # characters of one fact
_FRONT = re.compile(r"\A﻿?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_HTML = re.compile(r"<!--.*?-->|</?[a-zA-Z][^>]*>", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a card claims to have measured; `verified` where the Hub says that somebody else has measured it too."""

    task: str
    dataset: str
    metric: str
    value: float
    verified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a card says. `problems` are what could not be read, one sentence each; `text` is Markdown, as written."""

    license: License
    task: str = ""
    library: str = ""
    languages: tuple[str, ...] = ()
    base: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    results: tuple[Result, ...] = ()
    text: str = ""
    problems: tuple[str, ...] = field(default=())

    @property
    def summary(self) -> str:
        """The first paragraph that says something, without its HTML and Markdown."""
        for paragraph in re.split(r"\n\s*\n", _HTML.sub(" ", self.text)):
            plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)|[*_`>#|]", r"\1", paragraph)
            line = " ".join(plain.split())
            if len(line.split()) > 5 and not paragraph.lstrip().startswith(("#", "|", "```")):
                return line[:_LONGEST]
        return ""


def read(content: str) -> Card:
    """Read a card. It never raises: what is wrong stands among its problems."""
    problems = []
    if len(content) > LARGEST:
        problems.append(f"the card is cut after {LARGEST:,} of {len(content):,} characters")
        content = content[:LARGEST]
    front = _FRONT.match(content)
    text = content[front.end() :] if front else content
    facts: Mapping[str, Any] = {}
    if front is None:
        problems.append("the card has no facts before its text")
    elif len(front.group(1)) > _LARGEST_FACTS:
        problems.append(f"the facts of the card are more than {_LARGEST_FACTS:,} characters and were not read")
    else:
        facts, problem = _facts(front.group(1))
        problems += [problem] if problem else []
    return Card(
        license=explained(_first(facts.get("license")), name=_first(facts.get("license_name")) or None,
                          link=_first(facts.get("license_link")) or None),
        task=_first(facts.get("pipeline_tag")),
        library=_first(facts.get("library_name")),
        languages=_words(facts.get("language")),
        base=_words(facts.get("base_model")),
        datasets=_words(facts.get("datasets")),
        tags=_words(facts.get("tags")),
        results=tuple(_results(facts.get("model-index")))[:_MOST],
        text=text.strip(),
        problems=tuple(problems),
    )  # fmt: skip


def _facts(yaml: str) -> tuple[Mapping[str, Any], str]:
    from ruamel.yaml import YAML  # late: few cards are read
    from ruamel.yaml.error import YAMLError

    if "&" in yaml and re.search(r"(?m)(^|[\s\[{,:-])[&*]\w", yaml):
        return {}, "the facts of the card hold YAML anchors, which can grow without bound, and were not read"
    try:
        facts = YAML(typ="safe", pure=True).load(yaml)
    except (YAMLError, ValueError, RecursionError) as error:
        return {}, f"the facts of the card are no YAML: {' '.join(str(error).split())[:_LONGEST]}"
    return (facts, "") if isinstance(facts, Mapping) else ({}, "the facts of the card are no mapping")


def _results(index: object) -> Iterator[Result]:
    """Read a model-index: models, their results, each with a task, a dataset and metrics."""
    for model in _mappings(index):
        for result in _mappings(model.get("results")):
            task, dataset = _mapping(result.get("task")), _mapping(result.get("dataset"))
            for metric in _mappings(result.get("metrics")):
                value = metric.get("value")
                if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
                    yield Result(
                        task=_first(task.get("name")) or _first(task.get("type")),
                        dataset=_first(dataset.get("name")) or _first(dataset.get("type")),
                        metric=_first(metric.get("name")) or _first(metric.get("type")),
                        value=float(value),
                        verified=metric.get("verified") is True,
                    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    yield from (each for each in (value if isinstance(value, list) else [])[:_MOST] if isinstance(each, Mapping))


def _words(value: object) -> tuple[str, ...]:
    several = value if isinstance(value, list) else [value]
    return tuple(word for each in several[:_MOST] if (word := _first(each)))


def _first(value: object) -> str:
    """Return a fact as one short line: of a list its first; nothing of anything else."""
    if isinstance(value, list):
        value = value[0] if value else ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return " ".join(str(value).split())[:_LONGEST]
