"""What a list of models asks for: filters, an order, a page of it, and the fields to tell."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from catalog.hub_server.errors import HubError

MOST = 1000  # models a page
EXPANDED = (
    "author", "baseModels", "cardData", "childrenModelCount", "config", "createdAt", "disabled", "downloads",
    "downloadsAllTime", "evalResults", "gated", "gguf", "inference", "inferenceProviderMapping", "lastModified",
    "library_name", "likes", "mask_token", "model-index", "pipeline_tag", "private", "resourceGroup", "safetensors",
    "sha", "siblings", "spaces", "tags", "transformersInfo", "trendingScore", "usedStorage", "widgetData",
)  # fmt: skip
_ONLY_ONE = ("baseModels", "childrenModelCount", "usedStorage")  # told of one model, not in lists
_LISTED = (
    "likes", "trendingScore", "private", "downloads", "tags", "pipeline_tag", "library_name", "createdAt", "modelId",
)  # fmt: skip
_FULL = ("author", "sha", "lastModified", "gated", "disabled", "siblings")
SORTS = ("trendingScore", "downloads", "likes", "lastModified", "createdAt", "num_parameters", "id")
_WORDS = {"trending_score": "trendingScore", "last_modified": "lastModified", "created_at": "createdAt"}
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Models of a list, and where the next page begins, if there is one."""

    models: Sequence[Mapping[str, Any]]
    after: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A list that was asked for."""

    filter: tuple[str, ...] = ()
    author: str = ""
    search: str = ""
    pipeline_tag: str = ""
    gated: bool | None = None
    fewest: float = 0  # parameters
    most: float = float("inf")
    sort: str = "trendingScore"
    limit: int = MOST
    after: tuple[Any, str] | None = None  # the sorted value and the _id of the last model of the page before
    fields: tuple[str, ...] = ()

    @classmethod
    def of(cls, query: Sequence[tuple[str, str]]) -> Listing:
        """Read a query string's pairs; HubError where the real Hub has one."""
        one = dict(query)
        sort = _WORDS.get(one.get("sort", SORTS[0]), one.get("sort", SORTS[0]))
        if sort not in SORTS:
            raise HubError(400, f"Invalid sort parameter: {sort}. Valid: {', '.join(SORTS)}")
        limit = one.get("limit", str(MOST))
        if not limit.isdecimal() or not int(limit):
            raise HubError(400, "limit must be a positive number")
        fewest, most = _range(one.get("num_parameters", ""))
        return cls(
            filter=tuple(value for name, value in query if name == "filter"),
            author=one.get("author", "").casefold(),
            search=one.get("search", "").casefold(),
            pipeline_tag=one.get("pipeline_tag", ""),
            gated={"true": True, "false": False}.get(one.get("gated", "")),
            fewest=fewest,
            most=most,
            sort=sort,
            limit=min(int(limit), MOST),
            after=_after(one["cursor"], sort) if "cursor" in one else None,
            fields=fields_of(query, listed=True),
        )

    def takes(self, told: Mapping[str, Any]) -> bool:
        """Whether a model is one of those asked for."""
        tags = told.get("tags") or ()
        name = told["id"].casefold()
        return (
            all(each in tags for each in self.filter)
            and (not self.author or name.startswith(f"{self.author}/"))
            and self.search in name
            and self.pipeline_tag in ("", told.get("pipeline_tag"))
            and (self.gated is None or self.gated == bool(told.get("gated")))
            and (not (self.fewest or self.most < float("inf")) or self.fewest <= _parameters(told) <= self.most)
        )


def fields_of(query: Sequence[tuple[str, str]], *, listed: bool) -> tuple[str, ...]:
    """Return the fields to tell beside `_id` and `id`; nothing means all of an info."""
    wanted = [value for name, value in query if name in ("expand", "expand[]")]
    flags = {name for name, value in query if name in ("full", "cardData", "config") and value.casefold() == "true"}
    if wanted:
        valid = [each for each in EXPANDED if not (listed and each in _ONLY_ONE)]
        if flags:
            raise HubError(400, "expand cannot be combined with full, cardData or config")
        if wrong := next((each for each in wanted if each not in valid), None):
            raise HubError(400, f'"expand" does not know "{wrong}": must be one of {", ".join(valid)}')
        return tuple(dict.fromkeys(wanted))
    if not listed:
        return ()
    return _LISTED + (_FULL if "full" in flags else ()) + tuple(sorted(flags - {"full"}))


def pick(told: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """Return the asked fields of a model, as far as it has them."""
    return {"_id": told["_id"], "id": told["id"]} | {name: told[name] for name in fields if name in told}


def key_of(told: Mapping[str, Any], sort: str) -> tuple[bool, Any, str]:
    """Return what a list is sorted by: what is largest or newest first, what is not known last."""
    value = _value(told, sort)
    return value is None, _Descending(value), str(told["_id"])


def cut(models: Sequence[Mapping[str, Any]], asked: Listing) -> Page:
    """Return a page of sorted models."""
    start = 0
    if asked.after is not None:
        value, number = asked.after
        last = (value is None, _Descending(value), number)
        start = next((place for place, each in enumerate(models) if key_of(each, asked.sort) > last), len(models))
    page = models[start : start + asked.limit]
    if start + asked.limit >= len(models):
        return Page(models=page)
    return Page(models=page, after=position(_value(page[-1], asked.sort), page[-1]["_id"], asked.sort))


def position(value: Any, number: str, sort: str) -> dict[str, Any]:
    """Return where a list goes on, as the Hub's own cursors say it."""
    return {"$or": [{sort: value, "_id": {"$gt": number}}, {sort: {"$lt": value}}, {sort: None}]}


def cursor(place: Mapping[str, Any]) -> str:
    """Return a cursor for a URL's query, before it is quoted."""
    return base64.b64encode(orjson.dumps(place)).decode()


def _after(text: str, sort: str) -> tuple[Any, str]:
    try:
        first = orjson.loads(base64.b64decode(text, validate=True))["$or"][0]
        return first[sort], str(first["_id"]["$gt"])
    except (binascii.Error, ValueError, LookupError, TypeError):
        raise HubError(400, "Invalid cursor") from None


def _value(told: Mapping[str, Any], sort: str) -> Any:
    return _parameters(told) if sort == "num_parameters" else told.get(sort)


def _parameters(told: Mapping[str, Any]) -> float:
    kept = told.get("safetensors") or told.get("gguf") or {}
    return float(kept.get("total", 0))


def _range(text: str) -> tuple[float, float]:
    """Read "min:6B,max:128B"."""
    found = {"min": 0.0, "max": float("inf")}
    for part in filter(None, text.split(",")):
        read = re.fullmatch(r"(min|max):(\d+(?:\.\d+)?)([KMBT]?)", part, re.IGNORECASE)
        if read is None:
            raise HubError(400, f"Invalid num_parameters: {text}")
        found[read[1].lower()] = float(read[2]) * _UNITS[read[3].upper()]
    return found["min"], found["max"]


@dataclass(frozen=True, slots=True)
class _Descending:
    """A value whose order is turned round."""

    value: Any

    def __lt__(self, other: _Descending) -> bool:
        return self.value is not None and other.value is not None and bool(self.value > other.value)
