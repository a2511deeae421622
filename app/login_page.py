"""The one page a stranger sees, and the one that sends a known visitor on."""

from __future__ import annotations

from html import escape

from workspace.errors import StudioloError

_STYLE = """
:root { color-scheme: light dark; --paper: #f6f2ea; --card: #fffdf8; --ink: #26221c; --quiet: #6b6355; --rule: #d9cfbe;
  --accent: #23694a; --on: #fffdf8; --bad: #a8321f; }
@media (prefers-color-scheme: dark) { :root { --paper: #171511; --card: #201d18; --ink: #ebe4d6; --quiet: #a79d8c;
  --rule: #4a4337; --accent: #86cba4; --on: #171511; --bad: #f29483; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem; background: var(--paper);
  color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { width: min(26rem, 100%); background: var(--card); border: 1px solid var(--rule); border-radius: .6rem;
  padding: 2rem 1.75rem; }
h1 { font: 600 1.7rem/1.2 Palatino, "Book Antiqua", Georgia, serif; margin: 0 0 .5rem; }
p { margin: 0 0 1rem; color: var(--quiet); } code { color: var(--ink); }
label { display: block; font-weight: 600; margin-bottom: .3rem; }
input, button { width: 100%; font: inherit;
  padding: .6rem .75rem; border-radius: .4rem; border: 1px solid var(--rule); }
input { background: var(--paper); color: var(--ink); margin-bottom: .75rem; }
button { background: var(--accent); border-color: var(--accent); color: var(--on); font-weight: 600; cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.bad { color: var(--bad); }
"""


def login_page(wanted: str, error: StudioloError | None = None) -> str:
    """Return the form that asks for the token and then leads to `wanted`."""
    problem = f'<p class="bad" role="alert">{escape(error.message.capitalize())}.</p>' if error else ""
    return _page(
        "Log in",
        f"""<main><h1>Studiolo</h1>
<p>This studio opens with a token. <code>studiolo up</code> prints a link with it; it is also in the file
<code>token</code> of the workspace.</p>{problem}
<form method="post" action="/login"><input type="hidden" name="next" value="{escape(wanted)}">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Open the studio</button></form></main>""",
    )


def bounce_page(wanted: str) -> str:
    """Return a page that asks for `wanted` again, this time from the studio itself."""
    again = escape(wanted)
    return _page("Opening", f'<main><p>Opening <a href="{again}">the studio</a> …</p></main>', again)


def _page(title: str, body: str, refresh: str = "") -> str:
    goto = f'<meta http-equiv="refresh" content="0;url={refresh}">' if refresh else ""
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8">{goto}
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title} · Studiolo</title>
<style>{_STYLE}</style></head><body>{body}</body></html>"""
