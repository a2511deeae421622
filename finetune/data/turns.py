"""Where the answers of a conversation begin and end in its text, for whatever chat template.

The context of an answer is what the engine would render before it, to the character. Where a template writes earlier
turns another way once more follow (thinking that is left out, say), a conversation becomes one text for each answer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.chat_templates import ChatTemplate, Message, conventional
from workspace.errors import Invalid

Tools = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A text with the answers in it, each from its first character to behind its last, in order."""

    text: str
    answers: tuple[tuple[int, int], ...]


def render(
    template: ChatTemplate, messages: Sequence[Message], tools: Tools, turns: Sequence[int]
) -> tuple[Rendered, ...]:
    """Return the texts in which the assistant's turns number `turns` stand; raises Invalid as the template does."""
    if not turns:
        return ()
    each = [_one(template, messages, tools, turn) for turn in turns]
    whole = each[-1].text
    spans = [_within(whole, one, template) for one in each]
    together = [span for span in spans if span]
    return (Rendered(whole, tuple(together)),) if len(together) == len(each) else tuple(each)


def _within(whole: str, one: Rendered, template: ChatTemplate) -> tuple[int, int] | None:
    """Return where an answer stands in the whole conversation, if that goes on as the answer's own text ends.

    Some templates write the end token behind the last turn only; behind others then stands what ends a turn.
    """
    start, stop = one.answers[0]
    if whole.startswith(one.text):
        return start, stop
    short = one.text.removesuffix(template.end)
    ends_otherwise = short[start:].rstrip().endswith(template.special)
    return (start, len(short)) if ends_otherwise and whole.startswith(short) else None


def _one(template: ChatTemplate, messages: Sequence[Message], tools: Tools, turn: int) -> Rendered:
    """Render one answer behind what the engine renders before it."""
    context = template.render(messages[:turn], tools)
    through = template.render(messages[: turn + 1], tools, prompted=False)
    if not through.startswith(context):
        context, through = _joined(template, messages, tools, turn)
    if template.always_prompts:
        through = _without_prompt(template, through, len(context), conventional(messages[turn]).strip())
    return Rendered(through, ((len(context), len(through)),))


def _joined(template: ChatTemplate, messages: Sequence[Message], tools: Tools, turn: int) -> tuple[str, str]:
    """Put an answer behind a context that the template does not write before answers that are there already.

    Such a template opens an answer with more than it keeps of it: `<think>`, or a space.
    """
    context = template.render(messages[:turn], tools)
    through = template.render(messages[: turn + 1], tools, prompted=False)
    answer = conventional(messages[turn]).strip()
    start = through.rfind(answer) if answer else -1
    if start < 0:
        start = len(os.path.commonprefix([context, through]))  # noqa: RUF071 - of characters
        if start < len(template.render(messages[:turn], tools, prompted=False)) or not through[start:].strip():
            raise Invalid(f"the model's chat template does not write turn {turn + 1} behind the turns before it")
    return context, context + through[start:]


def _without_prompt(template: ChatTemplate, through: str, start: int, answer: str) -> str:
    """Let an answer end with its end token, where a template begins the next answer whether it is asked to or not."""
    behind = max(through.rfind(answer), start) + len(answer)
    ends = [at + len(word) for word in template.special if (at := through.find(word, behind)) >= 0]
    return through[: min(ends)] if ends else through
