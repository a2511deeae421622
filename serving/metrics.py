"""What Prometheus reads at /metrics: how many requests, how soon, how fast, how many tokens, by deployment."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from serving.backends import Load
from serving.call import Call

_SOON = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_STEP = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_WHOLE = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_WAY = ("endpoint", "deployment")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """The series of one deployment."""

    first: Histogram
    step: Histogram
    whole: Histogram
    prompt: Counter
    completion: Counter


class Metrics:
    """The numbers of one gateway since it began."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._ways: dict[str, _Way] = {}
        self._ended: dict[tuple[str, int], Counter] = {}
        self._requests = Counter("studiolo_requests", "Requests that ended", [*_WAY, "status"], registry=registry)
        self._retries = Counter("studiolo_retries", "Attempts that failed and were made again", _WAY, registry=registry)
        self._first = Histogram(
            "studiolo_time_to_first_token_seconds", "Until the first byte of an answer", _WAY,
            buckets=_SOON, registry=registry,
        )  # fmt: skip
        self._step = Histogram(
            "studiolo_inter_token_seconds", "Between two tokens of a stream, its mean", _WAY,
            buckets=_STEP, registry=registry,
        )  # fmt: skip
        self._whole = Histogram(
            "studiolo_request_seconds", "Until the last byte of an answer", _WAY, buckets=_WHOLE, registry=registry
        )
        self._tokens = Counter("studiolo_tokens", "Tokens read and written", [*_WAY, "kind"], registry=registry)
        self._queue = Gauge(
            "studiolo_queue_requests", "Requests worked on and waiting now", ["deployment", "state"], registry=registry
        )
        self._engines = Gauge("studiolo_engines", "Engines by what they do now", ["engine", "state"], registry=registry)
        self._dropped = Gauge("studiolo_mirror_dropped", "Copies that were too many", registry=registry)

    def observe(self, call: Call) -> None:
        """Count a request that has ended; copies are not counted."""
        way = call.deployment
        if way is None:
            self._requests.labels("", "", str(call.status)).inc()
            return
        ended = self._ended.get((way.path, call.status))
        if ended is None:
            ended = self._requests.labels(way.endpoint, way.name, str(call.status))
            self._ended[way.path, call.status] = ended
        ended.inc()
        if call.failures:
            self._retries.labels(way.endpoint, way.name).inc(len(call.failures))
        series = self._ways.get(way.path) or self._meet(way.endpoint, way.name, way.path)
        now = time.monotonic()
        series.whole.observe(now - call.started)
        if call.first_byte is not None and call.status == 200:
            series.first.observe(call.first_byte - call.started)
        if call.usage:
            series.prompt.inc(call.usage.prompt)
            series.completion.inc(call.usage.completion)
            if call.stream and call.first_byte is not None and call.usage.completion > 1:
                series.step.observe((now - call.first_byte) / (call.usage.completion - 1))

    def text(self, loads: Mapping[str, Load], engines: Iterable[Mapping[str, Any]], *, dropped: int) -> bytes:
        """Return everything as Prometheus reads it."""
        self._queue.clear()
        for deployment, load in loads.items():
            self._queue.labels(deployment, "active").set(load.active)
            self._queue.labels(deployment, "waiting").set(load.waiting)
        self._engines.clear()
        for engine in engines:
            self._engines.labels(str(engine.get("engine", "")), str(engine["state"])).inc()
        self._dropped.set(dropped)
        return generate_latest(self._registry)

    def _meet(self, endpoint: str, name: str, path: str) -> _Way:
        found = self._ways[path] = _Way(
            first=self._first.labels(endpoint, name),
            step=self._step.labels(endpoint, name),
            whole=self._whole.labels(endpoint, name),
            prompt=self._tokens.labels(endpoint, name, "prompt"),
            completion=self._tokens.labels(endpoint, name, "completion"),
        )
        return found


CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
