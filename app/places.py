"""The pages of the studio and the ways between them: every view has an address that can be sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import streamlit as st
from streamlit.navigation.page import Page

_KEPT = "pages of the studio"


def declare(shows: dict[str, tuple[str, str, Callable[[], None]]]) -> list[Page]:
    """Make pages of `{address: (title, icon, function)}`, the first one being the front page."""
    front = next(iter(shows))
    pages = {
        name: st.Page(show, title=title, icon=f":material/{icon}:", url_path=name, default=name == front)
        for name, (title, icon, show) in shows.items()
    }
    st.session_state[_KEPT] = pages
    return list(pages.values())


def link(to: str, label: str, *, icon: str | None = None, **query: str) -> None:
    """Show a link to a page in a certain state: `link("runs", "the last run", run=run_id)`."""
    st.page_link(
        st.session_state[_KEPT][to], label=label, icon=icon and f":material/{icon}:", query_params=query or None
    )


def go(to: str, **query: str) -> NoReturn:
    """Go to a page in a certain state."""
    st.switch_page(st.session_state[_KEPT][to], query_params=query or None)
    raise AssertionError("switch_page ends the script")


def link_node(node: str, label: str) -> None:
    """Show a link to the page of a lineage node: a run has its own, an asset is seen in its lineage."""
    kind, _, rest = node.partition(":")
    if kind == "run":
        link("runs", label, icon="history", run=rest)
    else:
        link("lineage", label, icon="category", node=node)
