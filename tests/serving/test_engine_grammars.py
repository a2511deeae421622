"""An answer that is held to a grammar obeys it, whatever the model would rather say."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from serving.engines.grammars import grammar
from serving.engines.requests import Sampling, read_chat
from serving.engines.sampling import Chooser, choose
from serving.engines.tool_calls import Argued, Begun, CallReader, Said
from serving.engines.tools import NOTHING, Offer
from serving.engines.vocabulary import Compiled, Vocabulary
from serving.openai_errors import Refusal
from tests.serving.letters import END, SCHEMAS, byte_tokenizer

Draft202012Validator: Any = importlib.import_module("jsonschema").Draft202012Validator

VOCABULARY = Vocabulary(byte_tokenizer(), [END])
PLACES = 300  # of the logits: more than there are tokens, as models have it
WEATHER = {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"]}
CLOSED: dict[str, Any] = {**WEATHER, "additionalProperties": False}


def _walk(compiled: Compiled | None, seed: int, *, most: int = 3000) -> tuple[str, bool]:
    """Return what a model without any sense says under a grammar, and whether it came to an end."""
    assert compiled is not None
    chooser = Chooser(Sampling(seed=seed), compiled.begin())
    noise = torch.Generator().manual_seed(seed)
    said = bytearray()
    for _ in range(most):
        (chosen,) = choose(torch.randn(1, PLACES, generator=noise), [chooser])
        assert chosen is not None, chooser.failure
        if chosen.token == END:
            return said.decode(), True
        said.append(chosen.token)
    return said.decode(errors="ignore"), False


def _offer(choice: object, *, parallel: bool = True, strict: bool = False, **schemas: Mapping[str, Any]) -> Offer:
    tools = [
        {"type": "function", "function": {"name": name, "parameters": schema, "strict": strict}}
        for name, schema in schemas.items()
    ]
    body = {"messages": [{"role": "user", "content": "x"}], "tools": tools, "tool_choice": choice}
    return read_chat({**body, "parallel_tool_calls": parallel}).offer


@settings(deadline=None, max_examples=60)
@given(SCHEMAS, st.integers(0, 2**32))
def test_every_answer_that_ends_obeys_its_schema(schema: dict[str, Any], seed: int) -> None:
    said, ended = _walk(grammar(VOCABULARY, schema, NOTHING), seed)
    assert ended
    Draft202012Validator(schema).validate(json.loads(said))


@pytest.mark.parametrize("seed", range(8))
def test_a_json_object_is_an_object(seed: int) -> None:
    said, ended = _walk(grammar(VOCABULARY, {"type": "object"}, NOTHING), seed)
    assert said.startswith("{")
    assert not ended or isinstance(json.loads(said), dict)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strin"},
        {"type": "object", "properties": 7},
        {"type": "string", "pattern": "("},
        {"$ref": "#/nowhere"},
        {"type": "array", "uniqueItems": True},
        {"not": {"type": "string"}},
        {"type": "object", "x-guidance": {"lenient": True}, "properties": {"a": {"not": {}}}},
        {"enum": []},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}, {"type": "object"}]},
        {"type": "string", "enum": ["x" * 300_000]},
    ],
)
def test_a_schema_that_is_wrong_or_cannot_be_kept_to_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        grammar(VOCABULARY, schema, NOTHING)
    assert (caught.value.status, caught.value.param) == (400, "response_format")


def test_the_parameters_of_a_function_that_cannot_be_kept_to_are_named() -> None:
    with pytest.raises(Refusal) as caught:
        grammar(VOCABULARY, None, _offer("required", fine=WEATHER, odd={"not": {}}))
    assert caught.value.param == "tools.1.function.parameters"


def test_blanks_between_the_parts_do_not_go_on_for_ever() -> None:
    compiled = VOCABULARY.compile('start: %json {"type": "object", "x-guidance": {}}', param="x")
    assert compiled is VOCABULARY.compile('start: %json {"type": "object", "x-guidance": {}}', param="x")
    said, _ = _walk(grammar(VOCABULARY, {"type": "array", "items": {"const": 1}, "minItems": 2}, NOTHING), 5)
    assert " " * 20 not in said


def _calls(said: str, offer: Offer) -> tuple[str, list[tuple[str, Any]]]:
    reader = CallReader(offer.names)
    text, names = "", []
    arguments: dict[int, str] = {}
    for piece in [*reader.push(said), *reader.finish()]:
        if isinstance(piece, Said):
            text += piece.text
        elif isinstance(piece, Begun):
            names.append(piece.name)
        elif isinstance(piece, Argued):
            arguments[piece.call] = arguments.get(piece.call, "") + piece.text
    return text, [(name, json.loads(arguments[call])) for call, name in enumerate(names)]


@pytest.mark.parametrize("seed", range(5))
def test_a_call_that_is_a_must_is_made_and_obeys_the_parameters(seed: int) -> None:
    offer = _offer("required", weather=CLOSED, time={"properties": {}, "additionalProperties": False})
    said, ended = _walk(grammar(VOCABULARY, None, offer), seed)
    text, calls = _calls(said, offer)
    assert (ended, text) == (True, "")
    assert calls
    for name, arguments in calls:
        assert arguments in ([{"city": "Oslo"}, {"city": "Rome"}] if name == "weather" else [{}])


@pytest.mark.parametrize("seed", range(5))
def test_a_named_function_is_called_once(seed: int) -> None:
    offer = _offer({"type": "function", "function": {"name": "b"}}, a=CLOSED, b=CLOSED)
    said, _ = _walk(grammar(VOCABULARY, None, offer), seed)
    assert [name for name, _ in _calls(said, offer)[1]] == ["b"]


def test_without_parallel_calls_there_is_one() -> None:
    offer = _offer("required", parallel=False, a=CLOSED, b=CLOSED)
    counts = {len(_calls(_walk(grammar(VOCABULARY, None, offer), seed)[0], offer)[1]) for seed in range(10)}
    assert counts == {1}


def test_calls_may_be_several_where_that_is_allowed() -> None:
    offer = _offer("required", a=CLOSED)
    counts = {len(_calls(_walk(grammar(VOCABULARY, None, offer), seed)[0], offer)[1]) for seed in range(10)}
    assert len(counts) > 1


def test_a_model_that_may_call_or_answer_in_a_schema_does_either() -> None:
    offer = _offer("auto", strict=True, a=CLOSED)
    kinds = set()
    for seed in range(10):
        text, calls = _calls(_walk(grammar(VOCABULARY, {"const": [1, 2]}, offer), seed)[0], offer)
        assert not calls or not text
        assert calls or json.loads(text) == [1, 2]
        kinds.add(bool(calls))
    assert kinds == {True, False}


def test_a_model_that_may_call_is_held_to_strict_parameters_once_it_begins() -> None:
    offer = _offer("auto", strict=True, a=CLOSED)
    way = grammar(VOCABULARY, None, offer)
    assert way is not None
    held = way.begin()
    for byte in b'Let me see.\n<tool_call>\n{"name": "a", "arguments": {"city": "':
        held.accept(byte)
    row = torch.zeros(PLACES)
    held.mask(row)
    assert {chr(token) for token in row.isfinite().nonzero()[:, 0].tolist()} == {"O", "R"}


def test_a_model_that_may_call_says_what_it_likes_otherwise() -> None:
    assert grammar(VOCABULARY, None, _offer("auto", a=CLOSED)) is None
    assert grammar(VOCABULARY, None, _offer("none", a=CLOSED)) is None


def test_a_model_that_may_call_only_once_has_said_everything_after_a_call() -> None:
    way = grammar(VOCABULARY, None, _offer("auto", parallel=False, a=CLOSED))
    assert way is not None
    held = way.begin()
    for byte in b'<tool_call>\n{"name": "a", "arguments": {"b": [1]}}\n</tool_call>':
        held.accept(byte)
    row = torch.zeros(PLACES)
    held.mask(row)
    assert row.isfinite().nonzero()[:, 0].tolist() == [END]


def test_a_model_with_a_token_of_its_own_for_calls_may_use_it() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False)])
    way = grammar(Vocabulary(tokenizer, [END]), None, _offer("required", a=CLOSED))
    assert way is not None
    row = torch.zeros(PLACES)
    way.begin().mask(row)
    assert END + 1 in row.isfinite().nonzero()[:, 0].tolist()


def test_a_grammar_that_fails_in_the_middle_ends_the_answer_with_the_reason() -> None:
    compiled = grammar(VOCABULARY, {"const": 1}, NOTHING)
    assert compiled is not None
    way = compiled.begin()
    way.accept(ord("x"))  # as no masked row would choose it
    chooser = Chooser(Sampling(), way)
    assert choose(torch.zeros(1, PLACES), [chooser]) == [None]
    assert chooser.failure.startswith("the grammar cannot be followed")
