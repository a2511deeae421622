"""The data collector at the gateway: what was asked of a deployment and what came back, where its file says so."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from starlette.types import Send

from serving.admission import Headers
from serving.call import Call
from serving.endpoints import Deployment
from serving.kept_traffic import Keeper, Writer, shown_headers

PROPERTY = "data_collector"  # of a deployment
REQUEST, RESPONSE = "request", "response"
LARGEST = 4_000_000  # bytes of an answer that are kept


class KeptCalls:
    """The keepers of one gateway; all write by one thread, and none makes an answer wait."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._writer = Writer()
        self._keepers: dict[str, tuple[Mapping[str, Any], Keeper]] = {}

    def hears(self, call: Call, deployment: Deployment, headers: Headers, send: Send) -> Send:
        """Return where the answer goes: past a keeper, where this request is one of those that are kept."""
        collected = deployment.properties.get(PROPERTY)
        if not collected:
            return send
        keeper = self._keeper(deployment, collected)
        more = {"headers": shown_headers(headers, keeper.headers)} if keeper.headers else {}
        keeper.keep(REQUEST, call.body, correlation=call.id, more=more)
        return _Heard(keeper, call, send) if keeper.wants(RESPONSE, call.id) else send

    def close(self) -> None:
        """Write what is still to be written."""
        self._writer.close()

    def _keeper(self, deployment: Deployment, collected: Mapping[str, Any]) -> Keeper:
        known = self._keepers.get(deployment.path)
        if known is None or known[0] != collected:
            keeper = Keeper(self._writer, self._home, deployment.endpoint, deployment.name, collected)
            known = self._keepers[deployment.path] = collected, keeper
        return known[1]


class _Heard:
    """Passes an answer on, and keeps it when it is whole."""

    def __init__(self, keeper: Keeper, call: Call, send: Send) -> None:
        self._keeper = keeper
        self._call = call
        self._send = send
        self._parts: list[bytes] = []
        self._size = 0

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        await self._send(message)
        if message["type"] != "http.response.body":
            return
        part = message.get("body", b"")
        if self._size < LARGEST:
            self._parts.append(part)
            self._size += len(part)
        if not message.get("more_body"):
            body = b"".join(self._parts)[:LARGEST]
            more = {"status": self._call.status}
            self._keeper.keep(RESPONSE, body, correlation=self._call.id, more=more)
