"""The studio's script: which pages there are, and the one that is asked for."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app import places
from app.pages import batch, endpoints, flows, home, lineage, playground, runs

PAGES = {
    "home": ("Home", "home", home.show),
    "playground": ("Playground", "forum", playground.show),
    "endpoints": ("Endpoints", "dns", endpoints.show),
    "batch": ("Batch endpoints", "dynamic_feed", batch.show),
    "flows": ("Flows", "account_tree", flows.show),
    "runs": ("Runs", "history", runs.show),
    "lineage": ("Lineage", "share", lineage.show),
}

MARK = str(Path(__file__).with_name("mark.svg"))
# Streamlit has no setting for these: a measure that reads well, links that look the same wherever they lead, and our
# colours for what a person has chosen or said.
STYLE = """<style>
.stMainBlockContainer { max-width: 72rem; padding-top: 3.5rem; }
.stMain [data-testid=stPageLink-NavLink] { background: transparent; padding-left: 0; }
.stMain [data-testid=stPageLink-NavLink]:hover { text-decoration: underline; }
.stMain [data-testid=stPageLink-NavLink] * { white-space: normal; overflow-wrap: anywhere; }
.stMain [data-testid=stPageLink-NavLink] p { font-weight: 400; }
.stMain .stButtonGroup [role=radiogroup] button[aria-checked=true] { color: inherit; font-weight: 600; }
.stMain .stChatMessage.stChatMessage:has([aria-label="Chat message from user"]) {
  background: color-mix(in srgb, currentColor 6%, transparent);
}
.stMain .stChatMessage [data-testid=stChatMessageAvatarCustom] { background: transparent; }
</style>"""

st.set_page_config(page_title="Studiolo", page_icon=MARK, layout="wide", initial_sidebar_state=216)
st.logo(MARK, size="large")
page = st.navigation(places.declare(PAGES))
st.html(STYLE)
# A link to another state of the same page changes the page but not the address: this tells the browser.
st.query_params.update({})
with st.sidebar:
    st.link_button("Log out", "/logout", icon=":material/logout:", type="tertiary")
page.run()
