"""Rows of text models: texts with labels, texts with names in them, and pairs; from tables, and from CoNLL's files."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from finetune.text.classify import Label
from finetune.text.tag import Span, Tagged, of_words
from flows import data as files
from flows import row_places
from jobs.data import tables
from workspace.errors import Invalid, Location, did_you_mean

Raw = Mapping[str, Any]

# What columns are called elsewhere; the first that a row has is taken.
TEXT = ("text", "sentence", "sentence1", "content", "utterance", "question", "prompt", "input")
LABEL = ("label", "labels", "category", "class", "intent", "target", "completion", "output")
TOKENS, TAGS = ("tokens", "words"), ("tags", "ner_tags", "labels")
SPANS = ("spans", "entities")
FIRST = ("anchor", "query", "sentence1", "question", "text1", "prompt")
SECOND = ("positive", "sentence2", "answer", "text2", "passage", "document", "completion", "text")
THIRD = ("negative",)
SCORE = ("score", "label", "similarity")
_CONLL = (".conll", ".bio", ".iob", ".iob2", ".txt")


def labelled(path: Path, columns: Mapping[str, str], limit: int | None = None) -> tuple[list[str], list[Label]]:
    """Return texts and labels; labels that are lists, also as text like `['a', 'b']`, are several labels each."""
    texts: list[str] = []
    labels: list[Label] = []
    for number, row in enumerate(_rows(path, limit), 1):
        text, label = _column(row, "text", TEXT, columns), _column(row, "label", LABEL, columns)
        if text is None or label is None:
            raise _wrong(path, number, row, "a text and a label", columns)
        if not isinstance(text, str) or not text.strip():
            raise _at(path, number, "the row has no text")
        texts.append(text)
        labels.append(_label(label))
    if any(not isinstance(label, str) for label in labels):
        labels = [[label] if isinstance(label, str) else label for label in labels]
    return texts, labels


def tagged(path: Path, columns: Mapping[str, str], limit: int | None = None) -> list[Tagged]:
    """Return texts with names in them: CoNLL's files, rows of `tokens` and `tags`, or of `text` and `spans`."""
    if path.is_file() and path.suffix in _CONLL:
        return list(islice(_conll(path), limit))
    found: list[Tagged] = []
    for number, row in enumerate(_rows(path, limit), 1):
        words, tags = _column(row, "tokens", TOKENS, columns), _column(row, "tags", TAGS, columns)
        spans = _column(row, "spans", SPANS, columns)
        try:
            if words is not None and tags is not None:
                found.append(of_words([str(word) for word in _listed(words)], [str(tag) for tag in _listed(tags)]))
                continue
            text = _column(row, "text", TEXT, columns)
            if not isinstance(text, str) or spans is None:
                raise _wrong(path, number, row, "`tokens` and `tags`, or `text` and `spans`", columns)
            found.append(Tagged(text, tuple(_span(each) for each in _listed(spans))))
        except Invalid as error:
            raise error if error.at else _at(path, number, error.message) from None
    return found


def paired(path: Path, columns: Mapping[str, str], limit: int | None = None) -> list[Any]:
    """Return pairs, triplets or pairs with a score, as their columns are called."""
    found: list[Any] = []
    for number, row in enumerate(_rows(path, limit), 1):
        first, second = _column(row, "anchor", FIRST, columns), _column(row, "positive", SECOND, columns)
        if not isinstance(first, str) or not isinstance(second, str):
            raise _wrong(path, number, row, "two texts", columns)
        third, score = _column(row, "negative", THIRD, columns), _column(row, "score", SCORE, columns)
        if isinstance(third, str):
            found.append((first, second, third))
        elif score is not None:
            try:
                found.append((first, second, float(score)))
            except (TypeError, ValueError):
                raise _at(path, number, f"the score {score!r} is no number") from None
        else:
            found.append((first, second))
    return found


def _rows(path: Path, limit: int | None) -> Iterator[Raw]:
    empty = True
    for row in islice(_raw(path), limit):
        if isinstance(row, files.BadRow):
            raise Invalid(row.reason, at=row.at)
        empty = False
        yield row
    if empty:
        raise Invalid("the data has no rows", at=Location(path), hint="a row is one line of JSON, or of a table")


def _raw(path: Path) -> Iterator[Raw | files.BadRow]:
    if tables.file_in(path) is None:
        yield from files.read(path)
        return
    for row in tables.read(path).to_dict("records"):
        yield {str(name): value.tolist() if hasattr(value, "tolist") else value for name, value in row.items()}


def _conll(path: Path) -> Iterator[Tagged]:
    words: list[str] = []
    tags: list[str] = []
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    if not any(line.strip() for line in lines):
        raise Invalid("the data has no rows", at=Location(path))
    for number, line in enumerate([*lines, ""], 1):
        parts = line.split()
        if parts and not line.startswith("-DOCSTART-"):
            if len(parts) < 2:
                raise Invalid("a line is a word and, behind it, its tag", at=Location(path, number))
            words.append(parts[0])
            tags.append(parts[-1])
        elif words:
            try:
                yield of_words(words, tags)
            except Invalid as error:
                raise Invalid(error.message, at=Location(path, number - len(words))) from None
            words, tags = [], []


def _column(row: Raw, ours: str, names: Sequence[str], columns: Mapping[str, str]) -> Any:
    if ours in columns:
        return row.get(columns[ours])
    return next((row[name] for name in (ours, *names) if row.get(name) is not None), None)


def _label(value: Any) -> Label:
    if isinstance(value, str) and value.strip().startswith("["):
        value = _listed(value)
    if isinstance(value, list | tuple):
        return [str(each) for each in value]
    return str(value)


def _listed(value: Any) -> list[Any]:
    """Return a list, also where a table has it as text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            try:
                value = ast.literal_eval(value)
            except (ValueError, SyntaxError):
                value = value.split()
    return list(value)


def _span(value: Any) -> Span:
    try:
        if isinstance(value, Mapping):
            return Span(int(value["start"]), int(value["end"]), str(value.get("label") or value["type"]))
        start, end, label = value
        return Span(int(start), int(end), str(label))
    except (KeyError, TypeError, ValueError):
        raise Invalid(f"{value!r} is no span", hint="{start: 0, end: 3, label: PER}") from None


def _wrong(path: Path, number: int, row: Raw, what: str, columns: Mapping[str, str]) -> Invalid:
    missing = next((theirs for theirs in columns.values() if theirs not in row), None)
    if missing is not None:
        error = _at(path, number, f"there is no column {missing!r}")
        error.hint = did_you_mean(missing, map(str, row))
        return error
    error = _at(path, number, f"the row is not {what}: it has {', '.join(map(str, row)) or 'nothing'}")
    error.hint = "say which column is which: data.columns: {text: …, label: …}"
    return error


def _at(path: Path, number: int, message: str) -> Invalid:
    at = Location(path) if tables.file_in(path) else row_places.where(path, number - 1)
    return Invalid(message if at.line else f"row {number}: {message}", at=at)
