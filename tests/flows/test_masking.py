"""Secrets are taken out of what is written, in every form in which text is written."""

from __future__ import annotations

import io
import json
from urllib.parse import quote

import pytest

from flows.connections import Connection
from flows.masking import Mask

CANARY = 'sk-"canary"\\ключ/0123'


def mask(*secrets: str) -> Mask:
    return Mask([Connection(name="mine", type="custom", secrets=dict(zip("abcdef", secrets, strict=False)))])


@pytest.mark.parametrize(
    "text", [CANARY, json.dumps(CANARY), json.dumps(CANARY, ensure_ascii=False), repr(CANARY), quote(CANARY, safe="")]
)
def test_a_secret_is_hidden_however_it_is_written(text: str) -> None:
    hidden = mask(CANARY).text(f"before {text} after")
    assert "canary" not in hidden
    assert hidden.startswith("before ")
    assert mask(CANARY).shows(text.encode())
    assert not mask(CANARY).shows(hidden.encode())


def test_each_long_line_of_a_secret_is_hidden() -> None:
    secret = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nshort\n"
    assert mask(secret).text("it is MIIEvQIBADANBgkqhkiG9w0, short") == "it is ******, short"


def test_a_secret_that_begins_as_another_does_is_hidden_whole() -> None:
    assert mask("secret", "secret-two").text("secret-two secret") == "****** ******"


def test_values_keep_their_shape() -> None:
    value = {"name": "x", "inputs": {"a": ["the password is hunter22", 5, None], "hunter22": 22222222}}
    hidden = {"name": "x", "inputs": {"a": ["the password is ******", 5, None], "******": "******"}}
    assert mask("hunter22", "22222222").value(value) == hidden


def test_names_of_our_own_fields_stay() -> None:
    assert mask("duration").value({"duration": 1.5, "error": "duration"}) == {"duration": 1.5, "error": "******"}


def test_very_short_secrets_hide_nothing() -> None:
    assert not mask("", "a", "none")
    assert mask("a").text("a cat") == "a cat"


def test_what_is_printed_loses_its_secrets() -> None:
    out = io.StringIO()
    print("key:", "hunter22", file=mask("hunter22").stream(out))
    assert out.getvalue() == "key: ******\n"
    assert mask("a").stream(out) is out
