"""The page on which a person tries a served flow: one file, no network but the flow itself."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path


def page() -> tuple[bytes, bytes]:
    """Return the page and the Content-Security-Policy that lets run just what is in it."""
    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    scripts, styles = (_hashes(text, tag) for tag in ("script", "style"))
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text.encode(), policy.encode()


def _hashes(text: str, tag: str) -> str:
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in found)
    return " ".join(f"'sha256-{digest}'" for digest in digests)
