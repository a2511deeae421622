"""What is asked about a row: the task's template filled in, examples before it, choices by letter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evals.samples import as_text
from evals.tasks.rows import LETTERS, Row, chosen
from evals.tasks.task import Task
from flows import chat_text, templates
from workspace.errors import Invalid

CHOICES = "{{question}}\n{{options}}\nAnswer:"
Asked = tuple[list[dict[str, Any]], str]


def asking(task: Task, pool: Sequence[Row]) -> Callable[[Row], Asked]:
    """Return what turns a row into messages of a chat and into the text of a completion.

    `pool` are the rows that examples are taken from. A template that cannot be rendered raises ValueError.
    """
    source = task.prompt
    if source is None and task.choosing is not None:
        source = CHOICES
    template = None if source is None else templates.prepare(source)
    system = None if task.system is None else templates.prepare(task.system)
    has_roles = template is not None and chat_text.HEADING.match(str(source).lstrip()) is not None
    if has_roles and (system is not None or task.few_shot is not None):
        raise Invalid("a prompt with roles is the whole chat", hint="leave out `system` and `few_shot`, or the roles")

    def said(row: Row) -> str:
        return _plain(row) if template is None else str(template.render(_values(row)))

    def ask(row: Row) -> Asked:
        if template is None and isinstance(given := row.inputs.get("messages"), list):
            return given, as_text(given)
        if template is not None and has_roles:
            prompt = template.render(_values(row))
            return chat_text.parse(prompt), str(prompt)
        before = chosen(task, pool, row)
        question = said(row)
        head = "" if system is None else str(system.render(_values(row)))
        messages = [{"role": "system", "content": head}] if head else []
        text = f"{head}\n\n" if head else ""
        for example in before:
            shown = said(example)
            messages += [
                {"role": "user", "content": shown},
                {"role": "assistant", "content": example.expected or ""},
            ]
            text += f"{shown} {example.expected or ''}\n\n"
        messages.append({"role": "user", "content": question})
        return messages, text + question

    return ask


def letter_of(text: str, choices: Sequence[str]) -> str:
    """Return the letter that an answer chooses, or the answer as it is: `letter_of("(b) 4", ("3", "4")) == "B"`."""
    said = text.strip()
    bare = said.lstrip("([*\"' ").upper()
    if bare[:1] and bare[0] in LETTERS[: len(choices)] and (len(bare) == 1 or not bare[1].isalnum()):
        return bare[0]
    by_text = [
        letter for letter, choice in zip(LETTERS, choices, strict=False) if choice.strip().casefold() == said.casefold()
    ]
    return by_text[0] if len(by_text) == 1 else said


def _values(row: Row) -> Mapping[str, Any]:
    values = {**row.metadata, **row.inputs}
    if row.choices:
        values["choices"] = list(row.choices)
        values["options"] = "\n".join(f"{LETTERS[place]}. {text}" for place, text in enumerate(row.choices))
    return values


def _plain(row: Row) -> str:
    if len(row.inputs) == 1:
        return as_text(next(iter(row.inputs.values())))
    return "\n".join(f"{name}: {as_text(value)}" for name, value in row.inputs.items())
