"""Lists in pages, as OpenAI's clients turn them: `limit`, `after`, and whether there is more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from serving.api import fields
from serving.visit import Visit


def asked(visit: Visit) -> dict[str, str]:
    """Return the query of a request."""
    return {name: values[-1] for name, values in parse_qs(visit.query.decode("latin-1")).items()}


def page(items: Sequence[Mapping[str, Any]], query: Mapping[str, str], *, usual: int, most: int) -> dict[str, Any]:
    """Return the part of a list that a query asks for; items are known by their `id`."""
    text = query.get("limit", str(usual))
    limit = fields.whole(int(text) if text.isascii() and text.isdigit() and len(text) < 9 else text, "limit", 1, most)
    if after := query.get("after"):
        places = [place for place, item in enumerate(items) if item["id"] == after]
        if not places:
            raise fields.wrong(f"no item {after!r}", "after")
        items = items[places[-1] + 1 :]
    shown = items[:limit]
    first, last = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    return {
        "object": "list",
        "data": list(shown),
        "first_id": first,
        "last_id": last,
        "has_more": len(items) > limit,
    }
