"""Cards are read and never run: facts, licences in plain words, results; a sample in the model's chat template."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from catalog import about
from catalog.card import LARGEST, read
from catalog.licenses import explained
from catalog.template_preview import preview
from workspace.errors import Invalid

CARDS = Path(__file__).parents[3] / "shared" / "data" / "hub-catalog" / "cards"
WHOLE = """---
license: other
license_name: acme-1.0
license_link: https://example.org/licence
language: [de, no]
base_model: acme/small
datasets: squad
tags: [chat, 7]
model-index:
- name: x
  results:
  - task: {type: text-generation}
    dataset: {name: GSM8K, type: gsm8k}
    metrics:
    - {type: acc, value: 0.5, verified: true}
    - {type: acc, value: .nan}
    - {type: acc, value: a lot}
---
# Title

![badge](https://example.org/x.png) <img src=x onerror=alert(1)>

This **model** answers [questions](https://example.org) in one sentence.
"""


def test_a_card_is_read_with_its_facts_results_and_first_sentence() -> None:
    card = read(WHOLE)
    assert (card.license.name, card.license.link) == ("acme-1.0", "https://example.org/licence")
    assert (card.languages, card.base, card.datasets, card.tags) == (
        ("de", "no"),
        ("acme/small",),
        ("squad",),
        ("chat", "7"),
    )
    assert [(each.dataset, each.metric, each.value, each.verified) for each in card.results] == [
        ("GSM8K", "acc", 0.5, True)
    ]
    assert card.summary == "This model answers questions in one sentence."
    assert card.problems == ()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("# only text", "no facts before its text"),
        ("---\na: [1\n---\nx", "no YAML"),
        ("---\n- a\n---\nx", "no mapping"),
        ("---\na: &a [x, x]\nb: *a\n---\nx", "anchors"),
        ("---\na: " + "x" * 300_000 + "\n---\nx", "were not read"),
        ("---\nlicense: mit\n---\n" + "x" * LARGEST, "is cut after"),
        ("---\n" + "[" * 5000 + "\n---\nx", "no YAML"),
    ],
)
def test_what_is_wrong_with_a_card_is_said_and_the_rest_is_read(content: str, problem: str) -> None:
    card = read(content)
    assert any(problem in each for each in card.problems)
    assert card.text.endswith(("x", "text"))


@pytest.mark.skipif(not CARDS.exists(), reason="the real cards lie beside the repository")
def test_real_cards_are_read_without_a_problem() -> None:
    read_ = [read(path.read_text(encoding="utf-8")) for path in sorted(CARDS.glob("*.md"))]
    assert [card.problems for card in read_ if card.problems] == []
    assert sum(bool(card.summary) for card in read_) > 0.85 * len(read_)


@pytest.mark.parametrize(
    ("word", "name", "commercial"),
    [
        ("Apache-2.0", "Apache License 2.0", True),
        ("cc-by-nc-4.0", "Creative Commons Attribution-NonCommercial 4.0", False),
        ("llama3.1", "Llama 3.1 Community License", True),
        ("gpl", "GNU General Public License 3.0", True),
        ("other", "A licence of its own", None),
        ("something-new", "something-new", None),
        (None, "No licence", None),
    ],
)
def test_a_licence_is_explained_or_said_to_be_unknown(word: str | None, name: str, commercial: bool | None) -> None:
    found = explained(word)
    assert (found.name, found.commercial) == (name, commercial)
    assert found.duties


def test_a_sample_is_written_as_the_model_hears_it() -> None:
    template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    found = preview(template, tokens={"eos_token": "</s>"})
    assert found.text.startswith("<|system|>You answer in one sentence.</s><|user|>What is a studiolo?</s>")
    assert found.text.endswith("<|assistant|>")
    assert (found.system, found.tools) == (True, False)


def test_a_template_that_takes_no_system_message_gets_none() -> None:
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('none') }}{% endif %}"
    template = refuses + "{{ messages[0].content }}{{ tools }}"
    found = preview(template)
    assert (found.text, found.system, found.tools) == ("What is a studiolo?", False, True)


@pytest.mark.parametrize(
    ("evil", "why"),
    [
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
        ("{{ 'x' * 10**10 }}", "MemoryError"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "did not end"),
        ("{% if %}", "TemplateSyntaxError"),
    ],
)
def test_a_hostile_template_ends_in_one_sentence(evil: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        preview(evil, patience=2.0)


def test_a_folder_says_what_its_model_is(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\nA model that says yes to nearly everything.")
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(
            {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1e30, "eos_token": {"content": "</s>"},
             "chat_template": [{"name": "default", "template": "{{ messages[-1].content }}{{ eos_token }}"}]}
        )
    )  # fmt: skip
    found = about.of_folder(tmp_path)
    assert found.tokenizer == about.Tokenizer(kind="GPT2Tokenizer", longest=None, special={"eos_token": "</s>"})
    assert found.chat is not None
    assert found.chat.text == "Who had one?</s>"
    assert about.of_folder(tmp_path / "nothing").problems == ("there is no card",)
