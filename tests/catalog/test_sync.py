"""The Hub's list comes here whole, politely, and goes on where it was killed; a Hub that lies is found out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import httpx
import pytest

from catalog.hub import Hub, Patience, Waiting
from catalog.hub_server.folder import commit_of, facts_of, moment
from catalog.hub_server.limits import RateLimits
from catalog.hub_server.shelf import Repositories, Repository
from catalog.index.arriving import Scope
from catalog.index.publish import newest
from catalog.sync import Arrived, Asked, Begun, Event, Published, known_scopes, scopes, sync
from tests.hub import Fault, Kind, LocalHub, local_hub
from workspace.errors import StudioloError, Unavailable

EVERYTHING = Asked(scope=Scope(), page=10)
QUICK = Patience(tries=3, first=0.01, longest=0.02, answer=0.5)
MODELS = 35


def _model(number: int, **facts: Any) -> Repository:
    name, created = f"lab{number % 3}/model-{number}", 1.7e9 + 3600 * number
    about = {"pipeline_tag": "text-generation" if number % 2 else "fill-mask", "downloads": number}
    told = facts_of(name, created) | {"lastModified": moment(created)} | about | facts
    return Repository(id=name, facts=told, commits=(commit_of({}, moment(created)),))


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    with local_hub(Repositories(_model(number) for number in range(MODELS))) as running:
        yield running


def _sync(folder: Path, hub: LocalHub, asked: Asked = EVERYTHING, patience: Patience = QUICK) -> list[Event]:
    return list(sync(folder, Hub(endpoint=hub.address), asked, patience))


def _published(events: list[Event]) -> Published:
    assert isinstance(events[-1], Published)
    return events[-1]


def _shown(folder: Path) -> list[tuple[str, str]]:
    path = newest(folder)
    if path is None:
        return []
    with duckdb.connect(str(path), read_only=True) as file:
        return [(key, name) for key, name in file.execute("SELECT key, id FROM texts ORDER BY id").fetchall()]


def _all(hub: LocalHub) -> list[tuple[str, str]]:
    found = (hub.shelf.find(f"lab{number % 3}/model-{number}") for number in range(MODELS))
    return sorted(((each.facts["_id"], each.id) for each in found if each), key=lambda pair: pair[1])


def test_a_first_sync_brings_every_model_once_and_says_how_far_it_is(hub: LocalHub, tmp_path: Path) -> None:
    events = _sync(tmp_path, hub)
    arrived = [each for each in events if isinstance(each, Arrived)]
    assert events[0] == Begun(scope=Scope(), whole=True, rows=0)
    assert [each.rows for each in arrived] == [10, 20, 30, 35]
    assert arrived[0].rate > 0
    assert arrived[0].left is not None
    assert arrived[-1].left == 0
    assert _published(events).changes.added == MODELS
    assert _shown(tmp_path) == _all(hub)


def test_a_later_sync_asks_for_what_has_changed_and_for_what_is_popular(hub: LocalHub, tmp_path: Path) -> None:
    _sync(tmp_path, hub)
    hub.shelf.put(_model(3, lastModified=moment(time.time()), downloads=10**6))
    hub.asked.clear()
    events = _sync(tmp_path, hub)
    assert events[0] == Begun(scope=Scope(), whole=False, rows=0)
    assert len(hub.asked) == 3  # a page of each order
    assert _published(events).changes.models == MODELS
    with duckdb.connect(str(newest(tmp_path)), read_only=True) as file:
        query = "SELECT downloads FROM facts JOIN texts USING (n) WHERE id = 'lab0/model-3'"
        assert file.execute(query).fetchone() == (10**6,)


def test_what_was_renamed_made_anew_or_taken_away_is_noticed(hub: LocalHub, tmp_path: Path) -> None:
    _sync(tmp_path, hub)
    renamed = replace(_model(4), id="lab9/renamed")
    hub.shelf.rename("lab1/model-4", renamed)
    hub.shelf.put(replace(_model(5), facts={**_model(5).facts, "_id": "f" * 24}))
    hub.shelf.remove("lab0/model-6")
    changes = _published(_sync(tmp_path, hub, replace(EVERYTHING, full=True))).changes
    shown = dict(_shown(tmp_path))
    assert (changes.models, changes.renamed) == (MODELS - 1, 1)
    assert shown[renamed.facts["_id"]] == "lab9/renamed"
    assert [key for key, name in shown.items() if name == "lab2/model-5"] == ["f" * 24]
    assert "lab0/model-6" not in shown.values()


def test_a_sync_that_ends_early_goes_on_and_shows_nothing_before(hub: LocalHub, tmp_path: Path) -> None:
    for event in sync(tmp_path, Hub(endpoint=hub.address), EVERYTHING, QUICK):
        if isinstance(event, Arrived) and event.pages == 2:
            break
    assert _shown(tmp_path) == []
    hub.asked.clear()
    events = _sync(tmp_path, hub)
    assert events[0] == Begun(scope=Scope(), whole=True, rows=20)
    assert len(hub.asked) == 2
    assert _shown(tmp_path) == _all(hub)


def test_an_unfinished_sync_of_another_hub_is_begun_anew(hub: LocalHub, tmp_path: Path) -> None:
    with local_hub(Repositories([_model(99)])) as other:
        for _ in sync(tmp_path, Hub(endpoint=hub.address), EVERYTHING, QUICK):
            pass
        hub.faults = [Fault("/api/models", "status", times=99, after=1)]
        with pytest.raises(Unavailable, match="answers 503"):
            _sync(tmp_path, hub, replace(EVERYTHING, full=True))
        assert _published(_sync(tmp_path, other, replace(EVERYTHING, full=True))).changes.models == 1


def test_a_part_of_the_hub_may_do_and_is_remembered(hub: LocalHub, tmp_path: Path) -> None:
    (scope,) = scopes(["fill-mask"], [], ["lab0"])
    _sync(tmp_path, hub, replace(EVERYTHING, scope=scope))
    assert {name for _, name in _shown(tmp_path)} == {f"lab0/model-{n}" for n in range(0, MODELS, 6)}
    assert known_scopes(tmp_path) == [scope]
    assert len(scopes(["a", "b"], ["c"], ["d", "e"])) == 4


def test_the_rate_limit_is_kept_to(tmp_path: Path) -> None:
    limits = RateLimits({"api": 3, "resolvers": 9, "pages": 9}, window=1.0)
    with local_hub(Repositories(_model(number) for number in range(MODELS)), limits=limits) as hub:
        events = _sync(tmp_path, hub)
        waits = [each for each in events if isinstance(each, Waiting)]
        assert waits
        assert all(each.why == "the Hub's rate limit" and each.seconds >= 1 for each in waits)
        assert len(hub.asked) == 4  # none was refused
        assert _shown(tmp_path) == _all(hub)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_fails_for_a_moment_is_asked_again(hub: LocalHub, tmp_path: Path, status: int) -> None:
    hub.faults = [Fault("/api/models", "status", times=2, status=status, after=1)]
    events = _sync(tmp_path, hub)
    assert len([each for each in events if isinstance(each, Waiting)]) == 2
    assert _shown(tmp_path) == _all(hub)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("html", "a page for people"),
        ("wrong_digest", "no JSON"),
        ("truncated", "cannot be read"),
        ("slow", "cannot be read"),
        ("redirect", "redirects at http://localhost"),
        ("elsewhere", "goes on at http://localhost"),
        ("loop", "in a circle"),
        ("status", "answers 502"),
    ],
)
def test_a_hub_that_lies_is_found_out_and_nothing_of_it_is_shown(
    hub: LocalHub, tmp_path: Path, kind: Kind, words: str
) -> None:
    elsewhere = f"{hub.address.replace('127.0.0.1', 'localhost')}/api/models?elsewhere"
    hub.faults = [Fault("/api/models", kind, times=99, status=502, to=elsewhere, seconds=1.0, after=1)]
    hub.authorised.clear()
    with pytest.raises(StudioloError, match=words) as caught:
        list(sync(tmp_path, Hub(endpoint=hub.address, token="hf_alice"), EVERYTHING, QUICK))
    assert caught.value.hint
    assert _shown(tmp_path) == []
    assert not any(host.startswith("localhost") for host, _ in hub.authorised)
    if kind in ("loop", "status"):  # the one begins anew, the other goes on
        hub.faults = []
        _sync(tmp_path, hub)
        assert _shown(tmp_path) == _all(hub)


class _Proxy(BaseHTTPRequestHandler):
    """A proxy that knows where the Hub is."""

    hub = ""

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        asked = f"{self.hub}{where.path}?{where.query}"
        answer = httpx.get(asked, headers={"Host": where.netloc}, trust_env=False)
        self.send_response(answer.status_code)
        for name in ("Content-Type", "Content-Length", "Link"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_proxy_is_asked_where_one_is_set(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proxying = type("Proxying", (_Proxy,), {"hub": hub.address})
    with ThreadingHTTPServer(("127.0.0.1", 0), proxying) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.server_port}")
        list(sync(tmp_path, Hub(endpoint="http://hub.example"), EVERYTHING, QUICK))
        server.shutdown()
    assert _shown(tmp_path) == _all(hub)


def test_without_a_network_it_is_said_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="HF_HUB_OFFLINE is set") as caught:
        list(sync(tmp_path, Hub(endpoint="https://huggingface.co", offline=True), EVERYTHING))
    assert "catalog sync" in (caught.value.hint or "")
    with pytest.raises(Unavailable, match="studiolo models list"):
        list(sync(tmp_path, Hub(endpoint="http://127.0.0.1:9"), EVERYTHING, QUICK))
