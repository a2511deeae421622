"""The table of the gateway's routes: which path, by which method, is answered by what, for whom."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from serving.openai_errors import Refusal
from serving.visit import Visit

# What a token must be allowed to do: ask a model, look at what there is, or nothing, not even a token.
Scope = Literal["ask", "look", "open"]

_PARAMETER = re.compile(r"\{([a-z_]+)(:path)?\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row: `Route(path="/v1/responses/{id}", method="GET", answer=show, scope="look", summary="…")`.

    `{id}` stands for one step of a path, `{id:path}` for any number. `request` and `response` are JSON schemas.
    """

    path: str
    method: str
    answer: Callable[[Visit], Awaitable[None]]
    scope: Scope
    summary: str
    request: Mapping[str, Any] | None = None
    response: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def pattern(self) -> re.Pattern[str]:
        """What a path must look like to be this one."""
        parts, end = [], 0
        for found in _PARAMETER.finditer(self.path):
            parts += [re.escape(self.path[end : found.start()]), f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})"]
            end = found.end()
        return re.compile("".join([*parts, re.escape(self.path[end:])]))


class Table:
    """The routes, found by path; what is not in it does not exist, whatever an engine behind has."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = tuple(routes)
        self._fixed: dict[str, dict[str, Route]] = {}
        self._patterns: dict[str, tuple[re.Pattern[str], dict[str, Route]]] = {}
        for route in self._routes:
            if "{" in route.path:
                methods = self._patterns.setdefault(route.path, (route.pattern, {}))[1]
            else:
                methods = self._fixed.setdefault(route.path, {})
            methods[route.method] = route

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def open(self, path: str, method: str) -> bool:
        """Whether the route is there for people without a token."""
        route = self._fixed.get(path, {}).get(method)
        return route is not None and route.scope == "open"

    def find(self, path: str, method: str) -> tuple[Route, Mapping[str, str]]:
        """Return the route and what stands for the names in its path; a Refusal 404 or 405 where there is none."""
        methods, values = self._methods(path)
        if route := methods.get(method):
            return route, values
        allowed = ", ".join(sorted(methods))
        raise Refusal(405, f"this route takes {allowed}", code="method_not_allowed", headers={"allow": allowed})

    def _methods(self, path: str) -> tuple[Mapping[str, Route], Mapping[str, str]]:
        if methods := self._fixed.get(path):
            return methods, {}
        for pattern, methods in self._patterns.values():
            if found := pattern.fullmatch(path):
                return methods, found.groupdict()
        raise Refusal(404, f"no route {path}", code="unknown_url")
