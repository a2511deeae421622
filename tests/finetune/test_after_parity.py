"""Template parity: what would answer otherwise after an export is found, with its conversation and its token."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from finetune.after.parity import Heard, Listened, compare, conversations, listen
from tests.finetune.tiny_models import TEMPLATE, tiny_chat
from workspace.errors import Invalid


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chat(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def before(base: Path) -> Listened:
    return listen(base, tokens=6)


@pytest.fixture
def copy(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "copy"))


def test_there_are_twenty_conversations_of_many_kinds() -> None:
    found = conversations()
    assert len({each.id for each in found}) == 20
    assert sum(bool(each.tools) for each in found) == 3
    assert any(message.calls for each in found for message in each.messages)
    assert any(each.messages[0].role == "system" and not each.messages[0].text for each in found)
    assert max(len(each.messages) for each in found) >= 8


def test_a_copy_passes(before: Listened, copy: Path) -> None:
    parity = compare(before, listen(copy, tokens=6))
    assert (parity.conversations, parity.tokens, parity.same_tokens, parity.excused) == (20, 120, 120, ())
    assert parity.words() == (
        "20 conversations: all token numbers equal, 120 of 120 tokens of the likeliest answers equal"
    )


def test_the_answers_are_those_of_transformers_own_generation(base: Path, before: Listened) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    heard = before.heard[4]
    asked = torch.tensor([heard.prompt])
    seen = torch.ones_like(asked)
    said = model.generate(asked, attention_mask=seen, max_new_tokens=6, do_sample=False, eos_token_id=None)
    assert tuple(said[0, len(heard.prompt) :].tolist()) == heard.answer


def test_another_template_is_found_by_conversation_and_token(before: Listened, copy: Path) -> None:
    told = copy / "chat_template.jinja"
    told.write_text(TEMPLATE.replace("<|im_end|>\n", "<|im_end|>"))
    with pytest.raises(Invalid, match=r"conversation 'one-question': token \d+ of the prompt is \d+ before and"):
        compare(before, listen(copy, tokens=6))
    told.unlink()
    config = json.loads((copy / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (copy / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(Invalid, match="no chat template"):
        listen(copy, tokens=6)


def test_another_tokenizer_is_found(before: Listened, copy: Path) -> None:
    told = json.loads((copy / "tokenizer.json").read_text())
    vocabulary = told["model"]["vocab"]
    one, other = "e", "a"
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]
    (copy / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(Invalid, match="of the prompt is"):
        compare(before, listen(copy, tokens=6))


def test_other_weights_are_found(before: Listened, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"the answers part at token \d: \d+ before"):
        compare(before, listen(tiny_chat(tmp_path / "other", seed=9), tokens=6))


def test_a_missing_generation_config_and_another_end_are_found(before: Listened, copy: Path) -> None:
    after = listen(copy, tokens=1)
    with pytest.raises(Invalid, match="eos_token_id was 2 and is 0"):
        compare(before, replace(after, ends={**after.ends, "eos_token_id": 0}))
    (copy / "generation_config.json").unlink()
    with pytest.raises(Invalid, match=r"copy has no generation_config\.json"):
        compare(before, listen(copy, tokens=1))


def test_a_tie_is_excused_where_weights_are_rounded_and_said() -> None:
    one = Listened(name="a", ends={}, heard=(Heard(id="x", prompt=(1,), answer=(5, 6), ahead=(2.0, 0.1)),))
    other = replace(one, heard=(replace(one.heard[0], answer=(5, 7)),))
    assert compare(one, other, tie=0.25).excused == ("x",)
    with pytest.raises(Invalid, match="the answers part at token 2: 6 before, 7 after"):
        compare(one, other)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(copy: Path, tmp_path: Path) -> None:
    small = tiny_chat(tmp_path / "small")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(small)
    tokenizer.add_tokens(["<more>", "<and more>"])
    tokenizer.save_pretrained(copy)
    with pytest.raises(Invalid, match="the tokenizer of copy knows"):
        listen(copy)
