"""What is learnt of a row is the answer and the token that ends it, behind exactly what the engine would have read."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from catalog.chat_templates import Call, Message
from finetune.data.encode import Batch, Encoded, Encoding, encode
from finetune.data.rows import Conversation, Preference, Row, Text, Verdict
from serving.engines.templates import Template
from serving.engines.tools import NOTHING, read_offer
from serving.openai_errors import Refusal
from tests.finetune.tiny_models import TEMPLATE as CHATML
from tests.serving.letters import byte_tokenizer
from workspace.errors import Invalid

# Of huggingface.js (MIT): templates that differ in how they end turns, write earlier ones and begin answers.
SOME = Path(__file__).with_name("chat_templates.json")
ALL = Path(__file__).parents[3] / "shared" / "data" / "hub-catalog" / "chat_templates.json"
BESIDE = pytest.mark.skipif(not ALL.is_file(), reason="the 97 real templates lie beside the repository")
# They make another text of an answer than a conversation: what is to be judged, or read aloud.
JUDGES = ("guard", "shield")
SPECIAL = re.compile(r"<\|[^|<>\s]+\|>|</?s>|<(?:end|start)_of_turn>|\[/?INST\]|<\uff5c[^\uff5c]+\uff5c>|<[A-Z_|]+>")
TALK = (
    Message("system", "Be brief."),
    Message("user", "Hi there"),
    Message("assistant", "Hello, friend!"),
    Message("user", "And now?"),
    Message("assistant", "Good bye\nfor now."),
)
WORDS = ["Hello, friend!", "Good bye\nfor now."]


def tokenizer_of(template: str) -> Any:
    """Bytes, and the words between angles that the template writes."""
    tokenizer = byte_tokenizer(template)
    special = re.findall(
        r"<\|[^|<>\s]+\|>|</?s>|<(?:end|start)_of_turn>|\[/?INST\]|<\uff5c[^\uff5c]+\uff5c>|<[A-Z_|]+>", template
    )
    tokenizer.add_special_tokens({"additional_special_tokens": sorted(set(special)), "bos_token": "<s>"})
    return tokenizer


def learnt(tokenizer: Any, text: Encoded) -> list[str]:
    """The texts that are learnt, one for each run of marked tokens."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], text.loss.astype(int), [0]))))
    return [tokenizer.decode(text.tokens[start:stop]) for start, stop in edges.reshape(-1, 2)]


def chat(*messages: Message, **more: Any) -> Conversation:
    return Conversation(number=1, messages=messages, **more)


def encoded(row: Row, *, template: str = CHATML, **how: Any) -> tuple[list[str], Batch]:
    tokenizer = tokenizer_of(template)
    batch = encode([row], tokenizer, Encoding(**how))
    return [said for text in batch.texts for said in learnt(tokenizer, text)], batch


def check(template: str, talk: Sequence[Message]) -> None:
    """Both answers are learnt with what ends them, each behind what the engine renders before it."""
    tokenizer = tokenizer_of(template)
    batch = encode([chat(*talk)], tokenizer, Encoding())
    said, contexts = [], []
    for text in batch.texts:
        said += learnt(tokenizer, text)
        starts = np.flatnonzero(np.diff(np.concatenate(([0], text.loss.astype(int)))) == 1)
        contexts += [text.tokens[:start].tolist() for start in starts]
    asked = [place for place, message in enumerate(talk) if message.role == "assistant"]
    for place, context in zip(asked, contexts, strict=True):
        rendered = Template(tokenizer).render(talk[:place], NOTHING)
        assert context == tokenizer(rendered, add_special_tokens=False)["input_ids"]
    for words, each in zip(WORDS, said, strict=True):
        assert words in each
        assert sum(each.count(other) for other in ("Hi there", "And now?", "Be brief.")) == 0
    assert batch.texts[-1].loss.any()


def _renders(template: str, talk: Sequence[Message]) -> bool:
    try:
        return bool(Template(tokenizer_of(template)).render(talk, NOTHING))
    except Refusal:
        return False


@pytest.mark.parametrize(
    "file",
    [SOME, pytest.param(ALL, marks=[pytest.mark.slow, BESIDE])],
)
def test_whatever_the_template_answers_are_learnt_behind_what_the_engine_reads(file: Path) -> None:
    checked = 0
    for each in json.loads(file.read_text()):
        for talk in (TALK, TALK[1:]):
            if _renders(each["chat_template"], talk) and not any(word in each["model"] for word in JUDGES):
                check(each["chat_template"], talk)
                checked += 1
    assert checked > 18 if file == SOME else checked > 170


def test_a_template_that_ends_turns_has_its_end_token_learnt_and_nothing_behind_it() -> None:
    assert encoded(chat(*TALK))[0] == [f"{words}<|im_end|>" for words in WORDS]


def test_a_template_that_writes_no_end_gets_one_and_it_is_told() -> None:
    said, batch = encoded(
        chat(*TALK[1:3]), template="{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    )
    assert said == ["assistant: Hello, friend!\n<end>"]
    assert "which the chat template does not write" in batch.notes.said()[0]


def test_earlier_thoughts_that_a_template_leaves_out_make_a_text_of_each_answer() -> None:
    template = (
        "{% for m in messages %}<|{{ m.role }}|>"
        "{{ m.content if loop.last else m.content.split('</think>')[-1] }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    thought = Message("assistant", "<think>hm</think>Hello")
    said, batch = encoded(chat(Message("user", "a"), thought, Message("user", "b"), thought), template=template)
    assert said == ["<think>hm</think>Hello<|end|>"] * 2
    assert len(batch.texts) == 2


@settings(max_examples=40)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=2, max_size=6).map(tuple))
def test_the_learnt_tokens_say_the_answer_and_its_end_whatever_is_said(texts: tuple[str, ...]) -> None:
    answers = [text if text.strip() else "x" for text in texts]
    messages = [Message(role, text) for text in answers for role in ("user", "assistant")]
    assert encoded(chat(*messages), max_length=10**6)[0] == [f"{text}<|im_end|>" for text in answers]


def test_calls_are_learnt_and_what_they_return_is_read() -> None:
    offer = read_offer({"tools": [{"type": "function", "function": {"name": "weather"}}]})
    tool = {
        "type": "function",
        "function": {"name": "weather", "description": "", "parameters": offer.tools[0].parameters},
    }
    called = Message("assistant", "", (Call("c", "weather", '{"city": "Oslo"}'),))
    talk = (Message("user", "Weather?"), called, Message("tool", "cold", answers="c"), Message("assistant", "Cold."))
    said, batch = encoded(chat(*talk, tools=(tool,)))
    call = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>'
    assert said == [call, "Cold.<|im_end|>"]
    tokenizer = tokenizer_of(CHATML)
    begun = Template(tokenizer).render(talk[:1], offer)
    assert tokenizer.decode(batch.texts[0].tokens).startswith(begun)


def test_the_last_answer_or_all_that_is_said_can_be_learnt() -> None:
    assert encoded(chat(*TALK), train_on="last")[0] == ["Good bye\nfor now.<|im_end|>"]
    (everything,), batch = encoded(chat(*TALK), train_on="all")
    assert everything.startswith("system\nBe brief.<|im_end|>")
    assert batch.texts[0].loss[1:].all()


def test_an_answer_of_weight_0_is_read_only() -> None:
    assert encoded(chat(*TALK, muted=frozenset({2})))[0] == ["Good bye\nfor now.<|im_end|>"]
    with pytest.raises(Invalid, match="no row has anything to learn"):
        encoded(chat(*TALK, muted=frozenset({2, 4})))


@pytest.mark.parametrize(
    ("policy", "length", "left"),
    [
        ("cut", 100, ["Hello, friend!<|im_end|>", "Good "]),
        ("keep_end", 60, ["lo, friend!<|im_end|>", "Good bye\nfor now.<|im_end|>"]),
    ],
)
def test_a_row_that_is_too_long_is_cut_as_said_and_told(policy: str, length: int, left: list[str]) -> None:
    whole = encoded(chat(*TALK))[1].texts[0]
    said, batch = encoded(chat(*TALK), too_long=policy, max_length=length)
    assert (said[0], said[1][:5]) == (left[0], left[1][:5])
    assert (len(batch.texts[0]), batch.texts[0].was) == (length, len(whole))
    assert batch.notes.said() == ["row 1 was longer than the limit and cut"]


def test_a_row_with_nothing_left_to_learn_is_dropped_and_told() -> None:
    tokenizer = tokenizer_of(CHATML)
    short = Conversation(number=2, messages=(Message("user", "a"), Message("assistant", "b")))
    batch = encode([chat(*TALK), short], tokenizer, Encoding(max_length=42))
    assert [text.row for text in batch.texts] == [2]
    assert batch.notes.said() == ["row 1 was left out: what is to be learnt lies beyond 42 tokens"]
    batch = encode([chat(*TALK), short], tokenizer, Encoding(max_length=100, too_long="drop"))
    assert batch.notes.said() == ["row 1 was left out: more than 100 tokens"]


def test_a_token_that_would_reach_over_the_beginning_of_an_answer_is_not_used() -> None:
    """At inference the question ends with its own token, and the answer begins with another."""
    plain = byte_tokenizer()
    vocabulary = {**plain.get_vocab(), "ĊH": 400}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ċ", "H")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    merging = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", chat_template=CHATML)
    assert 400 in merging("assistant\nHello")["input_ids"]
    batch = encode([chat(*TALK)], merging, Encoding())
    assert learnt(merging, batch.texts[0]) == [f"{words}<|im_end|>" for words in WORDS]
    assert (batch.texts[0].tokens == 400).sum() == 1  # in the question, where the engine has it too


def test_a_completion_is_learnt_without_its_prompt_and_a_text_as_a_whole() -> None:
    assert encoded(Text(number=1, prompt="2+2=", completion="4"))[0] == ["4<end>"]
    (said,), batch = encoded(Text(number=1, prompt="", completion="It rains."))
    assert said == "t rains.<end>"  # nothing stands before its first letter that could say it
    assert len(batch.texts[0]) == 10


def test_answers_to_choose_between_share_their_prompt_and_are_whole() -> None:
    tokenizer = tokenizer_of(CHATML)
    ask, good, bad = Message("user", "a" * 50), Message("assistant", "Yes."), Message("assistant", "No!")
    rows: list[Row] = [
        Preference(number=1, prompt=(ask,), chosen=(good,), rejected=(bad,)),
        Verdict(number=2, prompt=(ask,), completion=(good,), good=True),
    ]
    batch = encode(rows, tokenizer, Encoding(max_length=40))
    (pair,), (verdict,) = batch.pairs, batch.verdicts
    assert [tokenizer.decode(each) for each in (pair.chosen, pair.rejected)] == ["Yes.<|im_end|>", "No!<|im_end|>"]
    assert tokenizer.decode(pair.prompt).endswith("aaa<|im_end|>\n<|im_start|>assistant\n")
    assert len(pair.prompt) + max(len(pair.chosen), len(pair.rejected)) == 40
    assert (tokenizer.decode(verdict.completion), verdict.good) == ("Yes.<|im_end|>", True)
    assert batch.notes.said() == ["2 rows (1, 2) were longer than the limit and cut"]


@pytest.mark.parametrize("template", ["{% for m in", "{{ messages + 1 }}", "{{ messages.gone.gone }}"])
def test_a_template_that_is_wrong_is_told_with_the_row(template: str) -> None:
    with pytest.raises(Invalid, match=r"row 1: the model's chat template refuses this"):
        encoded(chat(*TALK), template=template)


def test_a_model_without_a_template_is_refused_with_the_row() -> None:
    with pytest.raises(Invalid, match=r"row 1: this model has no chat template"):
        encode([chat(*TALK)], byte_tokenizer(), Encoding())
