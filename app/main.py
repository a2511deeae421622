"""The studio's script: which pages there are, and the one that is asked for."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app import places
from app.pages import flows, home, lineage, playground, runs

PAGES = {
    "home": ("Home", "home", home.show),
    "playground": ("Playground", "forum", playground.show),
    "flows": ("Flows", "account_tree", flows.show),
    "runs": ("Runs", "history", runs.show),
    "lineage": ("Lineage", "share", lineage.show),
}

st.set_page_config(page_title="Studiolo", page_icon=str(Path(__file__).with_name("mark.svg")), layout="wide")
page = st.navigation(places.declare(PAGES))
st.html(
    "<style>.stMainBlockContainer{max-width:72rem;padding-top:3.5rem}"
    "[data-testid=stHeader]{background:transparent}</style>"
)
page.run()
