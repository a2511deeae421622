"""Rows as token numbers, with what is learnt marked: exactly the tokens of answers, and the one that ends them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from catalog.chat_templates import ChatTemplate, Message
from finetune.data.rows import Conversation, Preference, Row, Text, Verdict
from finetune.data.turns import Rendered, Tools, render
from workspace.errors import Invalid, did_you_mean

IGNORED = -100  # the label of a token that is only read
_AT_ONCE = 512  # rows whose texts are tokenized together

Tokens = npt.NDArray[np.int32]
Marks = npt.NDArray[np.bool_]
TrainOn = Literal["assistant", "last", "all"]
TooLong = Literal["cut", "drop", "keep_end"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How rows become tokens.

    `train_on` assistant turns, the last of them, or all that is written. A row of more than `max_length` tokens is
    cut at its end, dropped, or keeps its end (its beginning is cut); one that has nothing left to learn is dropped.
    """

    train_on: TrainOn = "assistant"
    max_length: int = 2048
    too_long: TooLong = "cut"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("train_on", self.train_on, get_args(TrainOn)), ("too_long", self.too_long, get_args(TooLong)),
        ):  # fmt: skip
            if value not in known:
                raise Invalid(f"{name} is one of {', '.join(known)}, not {value!r}", hint=did_you_mean(value, known))
        if self.max_length < 1:
            raise Invalid(f"max_length is at least 1, not {self.max_length}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A text as tokens; `loss` marks those that are learnt. A row may become several texts."""

    row: int
    tokens: Tokens
    loss: Marks
    was: int  # tokens before it was cut

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def input_ids(self) -> list[int]:
        """Return the tokens as trainers want them."""
        return list(map(int, self.tokens))

    @property
    def labels(self) -> list[int]:
        """Return the tokens that are learnt, and -100 for the others."""
        return list(map(int, np.where(self.loss, self.tokens, IGNORED)))


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPair:
    """A question and two answers to it, as tokens."""

    row: int
    prompt: Tokens
    chosen: Tokens
    rejected: Tokens
    was: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedVerdict:
    """A question and an answer that was good or not, as tokens."""

    row: int
    prompt: Tokens
    completion: Tokens
    good: bool
    was: int


@dataclass(slots=True)
class Notes:
    """What encoding did to rows, by their numbers: nothing happens to one silently."""

    cut: list[int] = field(default_factory=list)
    dropped: dict[int, str] = field(default_factory=dict)
    lost: list[int] = field(default_factory=list)  # the tokens of each that was dropped for its length
    endless: list[int] = field(default_factory=list)  # the template ends their answer by no token; one was added

    def said(self) -> list[str]:
        """Return one sentence for each kind of thing that happened."""
        told = []
        if self.cut:
            told.append(f"{_rows(self.cut)} longer than the limit and cut")
        for reason in sorted(set(self.dropped.values())):
            told.append(f"{_rows([row for row, why in self.dropped.items() if why == reason])} left out: {reason}")
        if self.endless:
            told.append(f"{_rows(self.endless)} ended with the end token, which the chat template does not write")
        return told


@dataclass(slots=True)
class Batch:
    """All that came of rows."""

    texts: list[Encoded] = field(default_factory=list)
    pairs: list[EncodedPair] = field(default_factory=list)
    verdicts: list[EncodedVerdict] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)

    @property
    def items(self) -> tuple[Encoded | EncodedPair | EncodedVerdict, ...]:
        """Return whatever there is."""
        return (*self.texts, *self.pairs, *self.verdicts)


def encode(rows: Iterable[Row], tokenizer: Any, how: Encoding) -> Batch:
    """Return all rows as tokens; raises Invalid where a row cannot be rendered, or nothing is left to learn."""
    batch = Batch()
    for item in stream(rows, tokenizer, how, batch.notes):
        if isinstance(item, Encoded):
            batch.texts.append(item)
        elif isinstance(item, EncodedPair):
            batch.pairs.append(item)
        else:
            batch.verdicts.append(item)
    if not batch.items:
        raise Invalid("no row has anything to learn", hint="; ".join(batch.notes.said()) or "the data is empty")
    return batch


def stream(
    rows: Iterable[Row], tokenizer: Any, how: Encoding, notes: Notes
) -> Iterator[Encoded | EncodedPair | EncodedVerdict]:
    """Yield rows as tokens while they are read; memory does not grow with their number, but for the notes."""
    writer = _Writer(tokenizer, how, notes)
    source = iter(rows)
    while some := [*islice(source, _AT_ONCE)]:
        yield from writer.encode(some)


class _Writer:
    """One tokenizer with its template, and the ways in which rows become tokens."""

    def __init__(self, tokenizer: Any, how: Encoding, notes: Notes) -> None:
        self.template = ChatTemplate(tokenizer)
        self.tokenizer, self.how, self.notes = tokenizer, how, notes
        self.special = np.asarray(sorted(set(tokenizer.all_special_ids)), dtype=np.int32)

    def encode(self, rows: Sequence[Row]) -> Iterator[Encoded | EncodedPair | EncodedVerdict]:
        """Yield what these rows become; their texts are tokenized together."""
        drafts = [draft for row in rows for draft in self._drafts(row)]
        prefixes = {text: place for place, text in enumerate(dict.fromkeys(p for d in drafts for p in d.prefixes()))}
        known = self._tokens([*prefixes]) if prefixes else []
        waiting: list[Encoded] = []
        for draft in drafts:
            made = self._encoded(draft, [known[prefixes[text]] for text in draft.prefixes()])
            if isinstance(draft.row, Conversation | Text):
                kept = self._limited(made)
                if kept is not None:
                    yield kept
                continue
            waiting.append(made)
            if draft.last:
                pair = self._answers(draft.row, waiting)
                if pair is not None:
                    yield pair
                waiting = []

    def _drafts(self, row: Row) -> Iterator[_Draft]:
        try:
            if isinstance(row, Text):
                yield _Draft(row, Rendered(row.prompt + row.completion, ((len(row.prompt), -1),)), plain=True)
            elif isinstance(row, Conversation):
                yield from (_Draft(row, text) for text in self._conversation(row))
            else:
                answers = (row.chosen, row.rejected) if isinstance(row, Preference) else (row.completion,)
                for answer in answers:
                    text = self._answer(row.prompt, answer, row.tools)
                    yield _Draft(row, text, last=answer is answers[-1])
        except Invalid as error:
            raise Invalid(f"row {row.number}: {error.message}", hint=error.hint) from error

    def _conversation(self, row: Conversation) -> tuple[Rendered, ...]:
        spoken = [place for place, message in enumerate(row.messages) if message.role == "assistant"]
        turns = [place for place in spoken if place not in row.muted]
        if not turns:
            self.notes.dropped[row.number] = "no answer in them is to be learnt"
            return ()
        if self.how.train_on == "all":
            text = self.template.render(row.messages, row.tools, prompted=False)
            return (Rendered(text, ((0, len(text)),)),)
        return render(self.template, row.messages, row.tools, turns[-1:] if self.how.train_on == "last" else turns)

    def _answer(self, prompt: Sequence[Message], answer: Sequence[Message], tools: Tools) -> Rendered:
        """An answer may be several messages, calls and what they returned among them; all behind the prompt count."""
        (text,) = render(self.template, [*prompt, *answer], tools, [len(prompt) + len(answer) - 1])
        start = len(self.template.render(prompt, tools))
        return Rendered(text.text, ((min(start, text.answers[0][0]), text.answers[0][1]),))

    def _tokens(self, texts: list[tuple[str, bool]]) -> list[list[int]]:
        """Tokenize texts; those marked plain as a completion's prompt is, with what the tokenizer puts before it."""
        found: dict[tuple[str, bool], list[int]] = {}
        for plain in (False, True):
            some = [text for text in texts if text[1] is plain]
            if some:
                every = self.tokenizer([text for text, _ in some], add_special_tokens=plain, verbose=False)["input_ids"]
                found.update(zip(some, every, strict=True))
        end = self.tokenizer.eos_token_id
        return [found[key][:-1] if key[1] and found[key][-1:] == [end] else found[key] for key in texts]

    def _encoded(self, draft: _Draft, prefixes: list[list[int]]) -> Encoded:
        """Lay the tokens of the growing text over each other: between two ends stands what is learnt, or not."""
        tokens: list[int] = []
        loss: list[bool] = []
        for number, prefix in enumerate(prefixes):
            if prefix[: len(tokens)] != tokens:
                prefix = tokens + self._behind(draft, number)
            loss += [number % 2 == 1] * (len(prefix) - len(tokens))
            tokens = prefix
        made, marks = np.asarray(tokens, dtype=np.int32), np.asarray(loss, dtype=np.bool_)
        if self.how.train_on != "all" or draft.plain:
            made, marks = self._ended(draft, made, marks)
        if len(marks):
            marks[0] = False  # nothing stands before it that could say it
        return Encoded(row=draft.row.number, tokens=made, loss=marks, was=len(made))

    def _behind(self, draft: _Draft, number: int) -> list[int]:
        """Tokenize a part by itself, where a token would reach over its beginning: the engine has none there."""
        texts = [text for text, _ in draft.prefixes()]
        part = texts[number][len(texts[number - 1]) :] if number else texts[0]
        own: list[int] = self.tokenizer(part, add_special_tokens=False, verbose=False)["input_ids"]
        said = self.tokenizer.decode(own, clean_up_tokenization_spaces=False)
        if said != part:
            raise Invalid(f"row {draft.row.number}: this tokenizer cannot begin an answer with {part[:20]!r}")
        return own

    def _ended(self, draft: _Draft, tokens: Tokens, loss: Marks) -> tuple[Tokens, Marks]:
        """Let each answer end with its end token: what a template writes behind it is not learnt."""
        end = self.tokenizer.eos_token_id
        spans = _spans(loss)
        closed = True
        for start, stop in spans:
            ends = np.flatnonzero(np.isin(tokens[start:stop], self.special))
            closed = len(ends) > 0 and not self._decoded(tokens[start + ends[-1] + 1 : stop]).strip()
            if closed:
                loss[start + ends[-1] + 1 : stop] = False
        if closed or end is None or not spans:
            return tokens, loss
        if not draft.plain:
            self.notes.endless.append(draft.row.number)
        return np.append(tokens, np.int32(end)), np.append(loss, True)

    def _decoded(self, tokens: Tokens) -> str:
        text: str = self.tokenizer.decode(tokens.tolist(), clean_up_tokenization_spaces=False) if len(tokens) else ""
        return text

    def _limited(self, made: Encoded) -> Encoded | None:
        """Apply the policy for rows that are too long."""
        limit, row = self.how.max_length, made.row
        if len(made) > limit:
            if self.how.too_long == "drop":
                self._dropped(row, f"more than {limit} tokens", made.was)
                return None
            part = slice(-limit, None) if self.how.too_long == "keep_end" else slice(0, limit)
            made = Encoded(row=row, tokens=made.tokens[part], loss=made.loss[part].copy(), was=made.was)
            made.loss[0] = False
        if not made.loss.any():
            beyond = f"what is to be learnt lies beyond {limit} tokens" if made.was > limit else "nothing to learn"
            self._dropped(row, beyond, made.was)
            return None
        if made.was > limit:
            self.notes.cut.append(row)
        return made

    def _dropped(self, row: int, reason: str, tokens: int) -> None:
        self.notes.dropped[row] = reason
        self.notes.lost.append(tokens)

    def _answers(self, row: Preference | Verdict, made: list[Encoded]) -> EncodedPair | EncodedVerdict | None:
        """Cut the prompt from the answers; of what is too long the prompt loses its beginning, never an answer."""
        prompt = made[0].tokens[: int(np.argmax(made[0].loss))]
        answers = [each.tokens[int(np.argmax(each.loss)) :][: _learnt(each)] for each in made]
        limit, longest = self.how.max_length, max(len(answer) for answer in answers)
        was = len(prompt) + longest
        if was > limit:
            if self.how.too_long == "drop" or longest >= limit:
                reason = "an answer of" if longest >= limit else ""
                self._dropped(row.number, f"{reason} more than {limit} tokens".strip(), was)
                return None
            self.notes.cut.append(row.number)
            prompt = prompt[-(limit - longest) :]
        if not all(len(answer) for answer in answers):
            self._dropped(row.number, "nothing to learn", was)
            return None
        if isinstance(row, Verdict):
            return EncodedVerdict(row=row.number, prompt=prompt, completion=answers[0], good=row.good, was=was)
        return EncodedPair(row=row.number, prompt=prompt, chosen=answers[0], rejected=answers[1], was=was)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A text that waits for its tokens, and the row that it comes from."""

    row: Row
    text: Rendered
    plain: bool = False
    last: bool = True  # of the texts of its row

    def prefixes(self) -> list[tuple[str, bool]]:
        """Return the text up to where each answer begins and ends, in turn."""
        text, cuts = self.text.text, [cut for answer in self.text.answers for cut in answer]
        return [(text[:cut] if cut >= 0 else text, self.plain) for cut in cuts]


def _learnt(made: Encoded) -> int:
    return int(len(made) - np.argmax(made.loss) - np.argmax(made.loss[::-1]))


def _spans(loss: Marks) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], loss, [False])).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _rows(numbers: Sequence[int]) -> str:
    each = sorted(set(numbers))
    if len(each) == 1:
        return f"row {each[0]} was"
    shown = ", ".join(map(str, each[:5]))
    return f"{len(each)} rows ({shown}{', …' if len(each) > 5 else ''}) were"
