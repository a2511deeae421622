"""The forms in which people have rows: which one a row has, and how each is read.

| form | columns |
|---|---|
| chat | `messages` (or ShareGPT's `conversations`), `tools` where functions are offered; `prompt` and `completion` as messages |
| instruction | `instruction`, `input`, `output`; `prompt` and `response`; `question` and `answer`; `system` where there is one |
| completion | `prompt` and `completion`, texts that are continued without a chat template |
| text | `text` |
| preference | `prompt`, `chosen`, `rejected`, texts or messages; OpenAI's `input`, `preferred_output`, `non_preferred_output` |
| kto | `prompt`, `completion`, `label` |
"""  # noqa: E501 - a table

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, get_args

from catalog.chat_templates import Message
from finetune.data import messages
from finetune.data.rows import Conversation, Preference, Row, Text, Verdict
from workspace.errors import Invalid

Form = Literal["chat", "instruction", "completion", "preference", "kto", "text"]
FORMS: tuple[str, ...] = get_args(Form)
_ASKED = ("instruction", "prompt", "question", "query", "user")
_ANSWERED = ("output", "response", "answer", "completion", "assistant")
_GOOD = {"true": True, "1": True, "good": True, "yes": True, "false": False, "0": False, "bad": False, "no": False}

Raw = Mapping[str, Any]


def form_of(row: Raw) -> Form:
    """Return the form that a row's columns have; raises Invalid where it is none that is known."""
    has = row.keys()
    if "messages" in has or "conversations" in has:
        return "chat"
    if {"chosen", "rejected"} <= has or {"preferred_output", "non_preferred_output"} <= has:
        return "preference"
    if {"prompt", "completion", "label"} <= has:
        return "kto"
    if {"prompt", "completion"} <= has:
        return "completion" if isinstance(row["prompt"], str) and not _is_list(row["prompt"]) else "chat"
    if _first(row, _ASKED) and _first(row, _ANSWERED):
        return "instruction"
    if "text" in has:
        return "text"
    raise Invalid(
        f"these columns are no form of training rows: {', '.join(map(str, has)) or 'none'}",
        hint="say which is which: --columns prompt=QUESTION --columns response=ANSWER",
    )


def read(row: Raw, number: int, form: Form) -> Row:
    """Return a row in our words; raises Invalid with what is wrong with it."""
    return _READERS[form](row, number)


def _chat(row: Raw, number: int) -> Row:
    if "messages" not in row and "conversations" not in row:
        prompt, _ = messages.read(_needed(row, "prompt"), "prompt")
        answer, _ = messages.read(_needed(row, "completion"), "completion")
        given, muted = (*prompt, *answer), frozenset(range(len(prompt)))
    else:
        field = "messages" if "messages" in row else "conversations"
        given, muted = messages.read(row[field], field)
    system = row.get("system")
    if isinstance(system, str) and system.strip() and given[0].role != "system":
        given, muted = (Message("system", system), *given), frozenset(place + 1 for place in muted)
    messages.check_order(given, muted)
    return Conversation(number=number, messages=given, tools=messages.tools(row.get("tools")), muted=muted)


def _instruction(row: Raw, number: int) -> Row:
    asked, answered = _first(row, _ASKED), _first(row, _ANSWERED)
    question = _text(row, asked or "instruction")
    more = row.get("input")
    if isinstance(more, str) and more.strip():
        question = f"{question}\n\n{more}"
    answer = _text(row, answered or "output")
    if not answer.strip():
        raise Invalid(f"{answered!r} is empty: there is nothing to learn")
    system = row.get("system")
    first = (Message("system", system),) if isinstance(system, str) and system.strip() else ()
    return Conversation(number=number, messages=(*first, Message("user", question), Message("assistant", answer)))


def _completion(row: Raw, number: int) -> Row:
    answer = _text(row, "completion")
    if not answer:
        raise Invalid("'completion' is empty: there is nothing to learn")
    return Text(number=number, prompt=_text(row, "prompt"), completion=answer)


def _text_alone(row: Raw, number: int) -> Row:
    text = _text(row, "text")
    if not text.strip():
        raise Invalid("'text' is empty: there is nothing to learn")
    return Text(number=number, prompt="", completion=text)


def _preference(row: Raw, number: int) -> Row:
    if "preferred_output" in row:  # OpenAI's and Azure's form
        inside = row.get("input")
        if not isinstance(inside, Mapping):
            raise Invalid("'input' must be an object with 'messages'")
        row = {
            "prompt": inside.get("messages"), "tools": inside.get("tools"),
            "chosen": row["preferred_output"], "rejected": row.get("non_preferred_output"),
        }  # fmt: skip
    chosen, rejected = _turns(row, "chosen", "assistant"), _turns(row, "rejected", "assistant")
    if row.get("prompt") is None:  # the question is what both begin with
        same = 0
        while same < min(len(chosen), len(rejected)) - 1 and chosen[same] == rejected[same]:
            same += 1
        prompt, chosen, rejected = chosen[:same], chosen[same:], rejected[same:]
    else:
        prompt = _turns(row, "prompt", "user")
        chosen, rejected = _behind(prompt, chosen), _behind(prompt, rejected)
    for answer in (chosen, rejected):
        _check_answer(prompt, answer)
    if chosen == rejected:
        raise Invalid("'chosen' and 'rejected' are the same: nothing is preferred")
    tools = messages.tools(row.get("tools"))
    return Preference(number=number, prompt=prompt, chosen=chosen, rejected=rejected, tools=tools)


def _verdict(row: Raw, number: int) -> Row:
    prompt, answer = _turns(row, "prompt", "user"), _turns(row, "completion", "assistant")
    _check_answer(prompt, answer)
    label = row.get("label")
    good = _GOOD.get(str(label).strip().casefold())
    if good is None:
        raise Invalid(f"'label' must be true or false, not {label!r}")
    tools = messages.tools(row.get("tools"))
    return Verdict(number=number, prompt=prompt, completion=answer, good=good, tools=tools)


_READERS: Mapping[Form, Callable[[Raw, int], Row]] = {
    "chat": _chat,
    "instruction": _instruction,
    "completion": _completion,
    "preference": _preference,
    "kto": _verdict,
    "text": _text_alone,
}


def _turns(row: Raw, field: str, role: str) -> tuple[Message, ...]:
    """Return messages, which a text is one of."""
    value = _needed(row, field)
    if isinstance(value, str) and not _is_list(value):
        return (Message(role, value),)
    if isinstance(value, Mapping):
        value = [value]
    return messages.read(value, field)[0]


def _behind(prompt: tuple[Message, ...], answer: tuple[Message, ...]) -> tuple[Message, ...]:
    """Some files repeat the question in each answer."""
    return answer[len(prompt) :] if answer[: len(prompt)] == prompt else answer


def _check_answer(prompt: tuple[Message, ...], answer: tuple[Message, ...]) -> None:
    if not prompt:
        raise Invalid("there is no question before the answers")
    if not answer or answer[-1].role != "assistant":
        raise Invalid("an answer must end with the assistant's turn")
    messages.check_order((*prompt, *answer))


def _first(row: Raw, names: Collection[str]) -> str | None:
    return next((name for name in names if name in row), None)


def _needed(row: Raw, field: str) -> Any:
    value = row.get(field)
    if value is None:
        raise Invalid(f"{field!r} is missing")
    return value


def _text(row: Raw, field: str) -> str:
    value = _needed(row, field)
    if not isinstance(value, str):
        raise Invalid(f"{field!r} must be text, not {type(value).__name__}: {str(value)[:40]!r}")
    return value


def _is_list(value: Any) -> bool:
    """Whether a cell holds messages as JSON text."""
    return not isinstance(value, str) or value.lstrip()[:2] == "[{"
