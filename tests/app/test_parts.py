"""What all pages share, run by Streamlit without a browser."""

from __future__ import annotations

from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from app import parts
from workspace.tokens import TokenRecord


def page() -> None:
    import streamlit as st

    from app import parts

    st.text(str(parts.change("Abort", icon=":material/undo:")))


def test_a_press_of_a_button_that_changes_something_counts_only_from_who_may(monkeypatch: pytest.MonkeyPatch) -> None:
    # Who the visitor is, its cookie says, which only a browser has; a browser may also press what is shown shut.
    visitor = TokenRecord(id="t", name="t", role="contributor", created_at=0, expires_at=None, revoked_at=None)
    monkeypatch.setattr(parts, "visitor", lambda: visitor)
    shown = AppTest.from_function(page, default_timeout=60).run()
    assert shown.button[0].click().run().text[0].value == "True"
    pressed = shown.button[0].click()
    visitor = replace(visitor, role="viewer")
    assert pressed.run().text[0].value == "False"
    assert shown.button[0].disabled
