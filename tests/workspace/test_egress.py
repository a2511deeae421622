"""Fetching from the public internet only: what an address inside, a redirect or a slow server may not do."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from workspace import egress
from workspace.egress import Address
from workspace.errors import Invalid, NotFound, Unavailable

Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def server() -> Iterator[tuple[int, dict[str, Answer], list[tuple[str, dict[str, str]]]]]:
    """A server on this machine: its port, what it answers by path, and what it was asked."""
    answers: dict[str, Answer] = {}
    asked: list[tuple[str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            asked.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
            answers[self.path.partition("?")[0]](self)

        def do_POST(self) -> None:
            headers = {key.lower(): value for key, value in self.headers.items()}
            body = self.rfile.read(int(headers["content-length"])).decode()
            asked.append((self.path, headers | {"body": body}))
            answers[self.path.partition("?")[0]](self)

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made.server_port, answers, asked
    made.shutdown()
    made.server_close()


def says(content: bytes, *, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Content-Type": "image/png", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def here(_host: str, _port: int) -> Sequence[Address]:
    return [ipaddress.ip_address("127.0.0.1")]


def get(url: str, **options: object) -> egress.Fetched:
    return egress.get(url, allows=lambda _: True, looks_up=here, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.1", "100.64.0.1", "224.0.0.1", "::1",
        "fe80::1", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "::", "255.255.255.255",
    ],
)  # fmt: skip
def test_addresses_inside_are_not_public(address: str) -> None:
    assert not egress.is_public(ipaddress.ip_address(address))


def test_public_addresses_are() -> None:
    for address in ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"):
        assert egress.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://2130706433/"])
def test_an_address_of_this_machine_is_refused(url: str) -> None:
    with pytest.raises((Invalid, Unavailable)):
        egress.get(url)


def test_one_address_inside_among_public_ones_is_enough_to_refuse() -> None:
    def both(_host: str, _port: int) -> Sequence[Address]:
        return [ipaddress.ip_address("93.184.216.34"), ipaddress.ip_address("10.0.0.1")]

    with pytest.raises(Invalid, match="inside this machine"):
        egress.get("http://example.org/", looks_up=both)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://a/b", "http://user:pass@a/", "http://", "http://a b/", "http://a:0/", "x"]
)
def test_what_is_no_address_of_the_web_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        egress.get(url)


def test_what_is_there_is_fetched_with_its_type(server: tuple[int, dict[str, Answer], list[object]]) -> None:
    port, answers, _ = server
    answers["/a"] = says(b"content")
    found = get(f"http://example.org:{port}/a")
    assert (found.content, found.type) == (b"content", "image/png")


def test_a_redirect_is_looked_at_anew_and_takes_no_headers_along(
    server: tuple[int, dict[str, Answer], list[tuple[str, dict[str, str]]]],
) -> None:
    port, answers, asked = server
    answers["/a"] = says(b"", status=302, Location=f"http://other.org:{port}/b")
    answers["/b"] = says(b"there")
    assert get(f"http://example.org:{port}/a", headers={"Authorization": "secret"}).content == b"there"
    assert asked[0][1]["authorization"] == "secret"
    assert "authorization" not in asked[1][1]
    answers["/a"] = says(b"", status=302, Location="http://10.0.0.1/")

    def lookup(host: str, _port: int) -> Sequence[Address]:
        return [ipaddress.ip_address("127.0.0.1" if host == "example.org" else "10.0.0.1")]

    with pytest.raises(Invalid, match="inside this machine"):
        egress.get(f"http://example.org:{port}/a", looks_up=lookup, allows=lambda each: str(each) == "127.0.0.1")


def test_redirects_have_an_end(server: tuple[int, dict[str, Answer], list[object]]) -> None:
    port, answers, asked = server
    answers["/a"] = says(b"", status=302, Location="/a")
    with pytest.raises(Invalid, match="redirects"):
        get(f"http://example.org:{port}/a")
    assert len(asked) == egress.REDIRECTS + 1


def test_what_is_too_large_too_slow_or_not_there_is_said(server: tuple[int, dict[str, Answer], list[object]]) -> None:
    port, answers, _ = server
    answers["/large"] = says(b"x" * 2000)
    with pytest.raises(Invalid, match="larger than"):
        get(f"http://example.org:{port}/large", largest=1000)

    def slow(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with suppress(OSError):  # nobody listens any more
            for _ in range(100):
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(0.05)

    answers["/slow"] = slow
    began = time.monotonic()
    with pytest.raises(Unavailable, match="longer than"):
        get(f"http://example.org:{port}/slow", timeout=0.5)
    assert time.monotonic() - began < 3
    answers["/absent"] = says(b"", status=404)
    with pytest.raises(NotFound):
        get(f"http://example.org:{port}/absent")
    answers["/broken"] = says(b"", status=500)
    with pytest.raises(Unavailable, match="500"):
        get(f"http://example.org:{port}/broken?token=secret")


def test_a_file_is_as_it_was_where_nothing_whole_has_come(
    server: tuple[int, dict[str, Answer], list[object]], tmp_path: Path
) -> None:
    port, answers, _ = server
    answers["/large"], answers["/small"] = says(b"x" * 2000), says(b"new")
    target = tmp_path / "rows.csv"
    target.write_bytes(b"old")
    rules = egress.Rules(largest=1000, allows=lambda _: True, looks_up=here)
    with pytest.raises(Invalid, match="inside this machine"):
        egress.download("http://127.0.0.1/", target, egress.Rules())
    with pytest.raises(Invalid, match="larger than"):
        egress.download(f"http://example.org:{port}/large", target, rules)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("rows.csv", b"old")]
    egress.download(f"http://example.org:{port}/small", target, rules)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("rows.csv", b"new")]


def test_a_message_does_not_repeat_what_may_be_secret(server: tuple[int, dict[str, Answer], list[object]]) -> None:
    port, answers, _ = server
    answers["/a"] = says(b"", status=500)
    with pytest.raises(Unavailable) as caught:
        get(f"http://example.org:{port}/a?key=topsecret")
    assert "topsecret" not in str(caught.value)


def post(url: str, **options: object) -> egress.Posted:
    headers = {"Content-Type": "text/plain"}
    return egress.post(url, b"hello", headers=headers, allows=lambda _: True, looks_up=here, **options)  # type: ignore[arg-type]


def test_what_is_sent_arrives_once_and_every_status_is_an_answer(
    server: tuple[int, dict[str, Answer], list[tuple[str, dict[str, str]]]],
) -> None:
    port, answers, asked = server
    answers["/a"] = says(b"thanks" * 1000, status=201)
    answers["/b"] = says(b"no", status=500)
    answers["/c"] = says(b"", status=307, Location="/a")
    posted = post(f"http://example.org:{port}/a?x=1")
    assert (posted.status, len(posted.words)) == (201, 500)
    assert [post(f"http://example.org:{port}/{name}").status for name in "bc"] == [500, 307]
    assert [path for path, _ in asked] == ["/a?x=1", "/b", "/c"]
    assert (asked[0][1]["body"], asked[0][1]["content-type"]) == ("hello", "text/plain")


def test_nothing_is_sent_inside_and_nobody_is_waited_for_long(
    server: tuple[int, dict[str, Answer], list[tuple[str, dict[str, str]]]],
) -> None:
    port, answers, asked = server
    for url in (f"http://127.0.0.1:{port}/a", f"http://localhost:{port}/a", "http://[::1]/", "http://169.254.169.254/"):
        with pytest.raises(Invalid, match="inside"):
            egress.post(url, b"", headers={})
        with pytest.raises(Invalid, match="inside"):
            egress.check(url)
    assert asked == []
    egress.check("https://no-such-host.invalid/")
    answers["/slow"] = lambda _: time.sleep(1.5)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="longer than"):
        post(f"http://example.org:{port}/slow", timeout=0.3)
    assert time.monotonic() - began < 1.4
    with pytest.raises(Unavailable, match="does not take it"):
        post("http://example.org:9/")
