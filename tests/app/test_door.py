"""The door of the studio: what a stranger, another web page and somebody with a token meet."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from app.door import local_path

PATHS = (
    "/", "/runs", "/nowhere", "/_stcore/health", "/_stcore/host-config", "/_stcore/metrics",
    "/_stcore/agent/openapi.json", "/static/js/index.js", "/media/x.png", "/component/x/y.js", "/favicon.png",
    "/files/0123/report.html", "/data/data:rows:1/a.csv", "/logout", "/healthz", "/health/", "/login/", "//health",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_a_stranger_reaches_nothing(empty_studio: Any, path: str, method: str) -> None:
    answer = httpx.request(method, empty_studio.url + path)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_stranger_who_browses_sees_how_to_log_in_and_comes_back_to_the_page(empty_studio: Any) -> None:
    answer = httpx.get(f"{empty_studio.url}/runs?kind=eval", headers={"accept": "text/html"})
    assert answer.status_code == 401
    assert 'name="next" value="/runs?kind=eval"' in answer.text


def test_the_token_is_exchanged_for_a_cookie_that_scripts_and_other_sites_cannot_use(empty_studio: Any) -> None:
    answer = _login(empty_studio)
    cookie = answer.headers["set-cookie"]
    assert answer.status_code == 303
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert empty_studio.token not in cookie
    assert empty_studio.token.split("_", 2)[2] not in cookie


def test_the_cookie_opens_every_route(empty_studio: Any) -> None:
    with httpx.Client(base_url=empty_studio.url, cookies=_login(empty_studio).cookies) as client:
        assert client.get("/").status_code == 200
        assert client.get("/_stcore/health").status_code == 200


@pytest.mark.parametrize("token", ["", "wrong", "st_0000_x", "st_" + "0" * 16 + "_" + "x" * 43, "é\n"])
def test_a_wrong_token_gives_the_login_page_again_and_no_cookie(empty_studio: Any, token: str) -> None:
    answer = httpx.post(f"{empty_studio.url}/login", data={"token": token}, headers={"origin": empty_studio.url})
    assert answer.status_code in (200, 401)
    assert "Open the studio" in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("value", ["x", "a.b.c", "0.99999999999.00", "..", "é", "1.x."])
def test_a_forged_cookie_opens_nothing(empty_studio: Any, value: str) -> None:
    name = next(iter(_login(empty_studio).cookies.keys()))
    headers = [(b"cookie", f"{name}={value}".encode())]
    assert httpx.get(empty_studio.url, headers=headers).status_code == 403


def test_another_host_name_is_refused_even_with_the_cookie(empty_studio: Any) -> None:
    answer = httpx.get(empty_studio.url, cookies=_login(empty_studio).cookies, headers={"host": "evil.test"})
    assert answer.status_code == 421


def test_another_site_cannot_post_even_with_the_cookie(empty_studio: Any) -> None:
    cookies = _login(empty_studio).cookies
    for headers in ({"origin": "http://evil.test"}, {}, {"origin": "null"}):
        assert httpx.post(f"{empty_studio.url}/login", cookies=cookies, headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("origin", "logged_in", "opens"),
    [("", True, False), ("http://evil.test", True, False), ("self", False, False), ("self", True, True)],
)
def test_a_websocket_needs_the_cookie_and_our_own_origin(
    empty_studio: Any, origin: str, logged_in: bool, opens: bool
) -> None:
    address = empty_studio.url.replace("http://", "ws://") + "/_stcore/stream"
    cookies = _login(empty_studio).cookies if logged_in else httpx.Cookies()
    headers = {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    wanted = Origin(empty_studio.url if origin == "self" else origin) if origin else None
    if opens:
        with connect(address, origin=wanted, additional_headers=headers):
            return
    with pytest.raises(InvalidStatus, match="403"), connect(address, origin=wanted, additional_headers=headers):
        pass


def test_revoking_the_token_shuts_the_studio_within_seconds(empty_studio: Any) -> None:
    tokens = empty_studio.workspace.tokens
    token = tokens.create("colleague", "viewer")
    cookies = _login(empty_studio, token).cookies
    tokens.revoke(token.split("_")[1])
    assert httpx.get(empty_studio.url, cookies=cookies).status_code == 403


def test_a_key_for_endpoints_opens_no_studio(empty_studio: Any) -> None:
    key = empty_studio.workspace.tokens.create("an application", "viewer", endpoints=["support"])
    answer = _login(empty_studio, key)
    assert answer.status_code == 401
    assert "This key asks endpoints only" in answer.text
    assert not answer.cookies


def test_leaving_forgets_the_session(empty_studio: Any) -> None:
    answer = httpx.get(f"{empty_studio.url}/logout", cookies=_login(empty_studio).cookies)
    assert answer.status_code == 303
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_every_answer_tells_browsers_to_be_strict(empty_studio: Any) -> None:
    headers = httpx.get(empty_studio.url, cookies=_login(empty_studio).cookies).headers
    policy = headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    assert "http" not in policy


@pytest.mark.parametrize(
    "wanted",
    ["//evil.test", "http://evil.test", "/\\evil.test", "\\\\evil.test", "/x\r\ny: z", "/ /evil", "evil", ""],
)
def test_login_leads_to_our_own_pages_only(wanted: str) -> None:
    assert local_path(wanted) == "/"


def _login(studio: Any, token: str | None = None) -> httpx.Response:
    return httpx.get(f"{studio.url}/login", params={"token": token or studio.token})
