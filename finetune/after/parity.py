"""Template parity: twenty conversations must give the same token numbers and the same likeliest answers afterwards.

`listen` hears a model: what each conversation becomes, and what the model says to it. `compare` finds the first
difference. Whatever passed through a merge, a copy or a conversion is heard before and after.
"""

from __future__ import annotations

import json
import subprocess
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.chat_templates import Call, ChatTemplate, Message
from workspace.errors import Invalid

CONVERSATIONS = Path(__file__).parent / "conversations.jsonl"
EARS = Path(__file__).parent / "llamacpp_ears.py"
TOKENS = 12  # of each answer
# Where the two likeliest tokens are nearer than this, in logits, they may change places: weights may be rounded.
EXACT, ROUNDED = 1e-3, 0.25
LEAST = 0.5  # of the tokens of all answers must be the same where weights are quantised
_ENDS = ("eos_token_id", "bos_token_id", "pad_token_id")


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation of those that are tried."""

    id: str
    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one conversation became, what was said to it, and how far each token was ahead of the next likeliest."""

    id: str
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    ahead: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listened:
    """A model as it was heard; `ends` are the numbers that begin and end answers, `special` those that no text has."""

    name: str
    heard: tuple[Heard, ...]
    ends: Mapping[str, Any]
    special: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How alike two were: `excused` conversations differ only where two tokens were as likely, to within rounding."""

    conversations: int
    tokens: int
    same_tokens: int
    excused: tuple[str, ...]
    quantised: bool = False

    def words(self) -> str:
        """Say it in a sentence."""
        text = f"{self.conversations} conversations: all token numbers equal, {self.same_tokens} of {self.tokens}"
        text += " tokens of the likeliest answers equal"
        why = "answers part" if self.quantised else "ties broke otherwise"
        return text + (f"; {why} in {', '.join(self.excused)}" if self.excused else "")


def conversations(path: Path = CONVERSATIONS) -> tuple[Conversation, ...]:
    """Read the conversations that are tried."""
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return tuple(
        Conversation(row["id"], tuple(map(_message, row["messages"])), tuple(row.get("tools", ()))) for row in rows
    )


def texts(tokenizer: Any, tried: Sequence[Conversation]) -> dict[str, str]:
    """Return each conversation as the engine would render it, by its id; "" where the template refuses it.

    Raises Invalid where the tokenizer has no template.
    """
    template = ChatTemplate(tokenizer)
    found: dict[str, str] = {}
    for each in tried:
        try:
            found[each.id] = template.render(each.messages, each.tools)
        except Invalid as error:
            if not tokenizer.chat_template:
                raise Invalid(str(error), hint="a chat model needs the template it was trained with") from None
            found[each.id] = ""
    return found


def listen_to_gguf(file: Path, source: Path, python: Path, *, tokens: int = TOKENS) -> Listened:
    """Hear a GGUF file through llama.cpp, run by a Python that has it, on what the model at `source` makes of them.

    Conversations without functions are rendered by the file's own template; the others come as text.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    tried = conversations()
    told = {name: text for name, text in texts(tokenizer, tried).items() if text}
    plain = {each.id: _plain(each) for each in tried if each.id in told and not each.tools}
    prompts = {name: tokenizer(text, add_special_tokens=False)["input_ids"] for name, text in told.items()}
    asked = {"file": str(file), "context": 4_096, "count": tokens, "messages": plain, "prompts": prompts}
    asked["texts"] = {name: text for name, text in told.items() if name not in plain}
    ended = subprocess.run([python, EARS], input=json.dumps(asked), capture_output=True, text=True, check=False)
    if ended.returncode:
        last = [line for line in ended.stderr.splitlines() if line.strip() and " I " not in line][-1:]
        raise Invalid(f"llama.cpp cannot answer from {file.name}: {' '.join(last)}")
    found = json.loads(ended.stdout.strip().splitlines()[-1])
    heard = [
        Heard(
            id=each.id, prompt=tuple(found["tokens"].get(each.id, ())), answer=tuple(found["answers"].get(each.id, ()))
        )
        for each in tried
    ]
    return Listened(name=file.name, heard=tuple(heard), ends={})


def listen(folder: Path, *, adapter: Path | None = None, dtype: str = "float32", tokens: int = TOKENS) -> Listened:
    """Hear a model of transformers' layout, with an adapter where one is given, on the conversations above."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _reading(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), local_files_only=True)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        known = model.get_input_embeddings().num_embeddings
        raise Invalid(f"the tokenizer of {folder.name} knows {len(tokenizer)} tokens and the model {known}")
    if adapter is not None:
        from peft import PeftModel

        with _reading(adapter):
            model = PeftModel.from_pretrained(model, str(adapter), local_files_only=True)
    heard = [
        answer(
            model.eval(), name, tokenizer(text, add_special_tokens=False)["input_ids"] if text else (), tokens=tokens
        )
        for name, text in texts(tokenizer, conversations()).items()
    ]
    told = {name: getattr(tokenizer, name) for name in _ENDS}
    told["generation_config"] = _generation(folder)
    special = frozenset(map(int, tokenizer.all_special_ids))
    return Listened(name=folder.name, heard=tuple(heard), ends=told, special=special)


def answer(model: Any, name: str, prompt: Sequence[int], *, tokens: int) -> Heard:
    """Let a model go on with its likeliest tokens."""
    import torch

    if not prompt:
        return Heard(id=name, prompt=(), answer=())
    said: list[int] = []
    ahead: list[float] = []
    given, cache = torch.tensor([list(prompt)], device=model.device), None
    with torch.inference_mode():
        for _ in range(tokens):
            out = model(input_ids=given, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            best = out.logits[0, -1].float().topk(2)
            said.append(int(best.indices[0]))
            ahead.append(float(best.values[0] - best.values[1]))
            given = best.indices[:1].view(1, 1)
    return Heard(id=name, prompt=tuple(prompt), answer=tuple(said), ahead=tuple(ahead))


def compare(before: Listened, after: Listened, *, tie: float | None = EXACT) -> Parity:
    """Return how alike two are. Raises Invalid with the conversation and the token where they part.

    Answers may part where two tokens were within `tie` of each other. Quantised weights answer otherwise here and
    there: with `tie=None` it is only counted how far the answers agree, which is at least half of their tokens.
    """
    _same_ends(before, after)
    others = {each.id: each for each in after.heard}
    same = total = 0
    excused: list[str] = []
    for one in before.heard:
        other = others[one.id]
        _same_prompt(one, other)
        place = _parting(one.answer, other.answer)
        if (
            place == len(other.answer)
            and place is not None
            and before.special & {*one.answer[max(0, place - 1) : place + 1]}
        ):
            place = None  # llama.cpp ends an answer at the token that says so
        total += len(one.answer)
        same += len(one.answer) if place is None else place
        if place is None:
            continue
        if tie is None or (place < len(one.ahead) and one.ahead[place] <= tie):
            excused.append(one.id)
            continue
        raise Invalid(
            f"conversation {one.id!r}: the answers part at token {place + 1}: {_at(one.answer, place)} before, "
            f"{_at(other.answer, place)} after",
            hint="the weights are not those that were heard before: was another adapter merged, or a file damaged?",
        )
    if tie is None and same < LEAST * total:
        raise Invalid(f"only {same} of {total} tokens of the answers are the same", hint="quantise less: f16, bf16")
    return Parity(
        conversations=len(before.heard), tokens=total, same_tokens=same, excused=tuple(excused), quantised=tie is None
    )


def _same_ends(before: Listened, after: Listened) -> None:
    for name, value in before.ends.items():
        if name in after.ends and after.ends[name] != value:
            if name == "generation_config" and after.ends[name] is None:
                raise Invalid(
                    f"{after.name} has no generation_config.json, and {before.name} has one",
                    hint="without it answers do not end where they should: copy it",
                )
            raise Invalid(f"{name} was {value} and is {after.ends[name]}", hint="is the tokenizer the model's own?")


def _same_prompt(one: Heard, other: Heard) -> None:
    place = _parting(one.prompt, other.prompt)
    if place is not None:
        raise Invalid(
            f"conversation {one.id!r}: token {place + 1} of the prompt is {_at(one.prompt, place)} before and "
            f"{_at(other.prompt, place)} after",
            hint="the tokenizer or the chat template is another one than that of the training",
        )


def _parting(one: Sequence[int], other: Sequence[int]) -> int | None:
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return None if len(one) == len(other) else min(len(one), len(other))


def _at(tokens: Sequence[int], place: int) -> str:
    return str(tokens[place]) if place < len(tokens) else "nothing"


def _generation(folder: Path) -> dict[str, Any] | None:
    """Return what of generation_config.json decides how answers end, None where there is none."""
    path = folder / "generation_config.json"
    if not path.is_file():
        return None
    told = json.loads(path.read_text(encoding="utf-8"))
    return {key: value for key, value in told.items() if key not in ("transformers_version", "_from_model_config")}


def _plain(conversation: Conversation) -> list[dict[str, str]]:
    return [{"role": each.role, "content": each.text} for each in conversation.messages]


def _message(row: Mapping[str, Any]) -> Message:
    calls = tuple(
        Call(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in row.get("tool_calls", ())
    )
    return Message(row["role"], row["content"], calls, row.get("tool_call_id"))


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of names that will change, in libraries of others
            yield
    except (OSError, ValueError) as error:
        raise Invalid(f"the model in {str(folder)!r} cannot be read: {error}") from error
