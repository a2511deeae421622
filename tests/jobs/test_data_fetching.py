"""What URLs name: fetched once, kept, refused."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import fsspec
import pytest

from jobs.data import fetching, places
from jobs.data.datastores import Remote
from jobs.files.references import Url
from tests.jobs.conftest import Submit
from tests.jobs.file_server import Server
from tests.jobs.file_server import cache as cache
from tests.jobs.file_server import inside as inside
from tests.jobs.file_server import said as said
from tests.jobs.file_server import server as server
from workspace.errors import Denied, Invalid, MissingExtra, NotFound, Unavailable
from workspace.home import Workspace
from workspace.settings import cache_folder


def test_a_url_is_fetched_once_and_read_only(inside: Workspace, run: Submit, server: Server) -> None:
    server.files["/a/rows.csv"] = b"a\n1\n"
    rest = f"inputs:\n  rows:\n    type: uri_file\n    path: {server.url}/a/rows.csv\n"
    for _ in range(2):
        assert said(inside, run, "cat ${{inputs.rows}}; echo 2 >> ${{inputs.rows}} || echo no", rest).startswith(
            "a\n1\n"
        )
    assert server.sent == 1
    server.files["/a/rows.csv"] = b"b\n2\n"
    assert said(inside, run, "basename ${{inputs.rows}}; cat ${{inputs.rows}}", rest) == "rows.csv\nb\n2\n"


def test_what_newer_content_replaces_stays_for_who_reads_it(inside: Workspace, server: Server) -> None:
    found = []
    for content in (b"a", b"b"):
        server.files["/rows.csv"] = content
        found.append(places.find(inside, Url(url=f"{server.url}/rows.csv")))
    assert [each.read_bytes() for each in found] == [b"a", b"b"]
    os.utime(found[0].parent, (0, 0))
    server.files["/rows.csv"] = b"c"
    places.find(inside, Url(url=f"{server.url}/rows.csv"))
    assert [each.exists() for each in found] == [False, True]


def test_addresses_inside_are_not_fetched_from_unless_the_settings_name_them(
    workspace: Workspace, server: Server
) -> None:
    server.files["/rows.csv"] = b"a\n"
    with pytest.raises(Invalid, match="inside this machine or its network"):
        places.find(workspace, Url(url=f"{server.url}/rows.csv"))
    assert server.asked == []


def test_offline_what_was_fetched_is_used_and_nothing_else(inside: Workspace, server: Server) -> None:
    server.files["/rows.csv"] = b"a\n"
    where = Url(url=f"{server.url}/rows.csv")
    assert places.find(inside, where).read_bytes() == b"a\n"
    asked = len(server.asked)
    inside.settings = replace(inside.settings, offline=1)
    assert places.find(inside, where).read_bytes() == b"a\n"
    with pytest.raises(Unavailable, match="was not fetched before"):
        places.find(inside, Url(url=f"{server.url}/other.csv?sig=SECRET"))
    assert len(server.asked) == asked


def test_a_server_that_has_gone_leaves_what_was_fetched_and_that_is_said(
    inside: Workspace, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.files["/rows.csv"] = b"a\n"
    where = Url(url=f"{server.url}/rows.csv?sig=SECRET")
    places.find(inside, where)
    assert not caplog.messages
    found = cache_folder() / "data" / fetching.key(where.url) / "found.json"
    for status, seconds, words in ((500, 7300, "2 hours ago"), (503, 200_000, "2 days ago")):
        os.utime(found, (0, time.time() - seconds))
        server.status = status
        assert places.find(inside, where).read_bytes() == b"a\n"
        assert caplog.messages[-1].startswith(f"what was fetched {words} is used: ")
        assert f"answers {status}" in caplog.messages[-1]
    assert "SECRET" not in caplog.text
    server.status = 200
    places.find(inside, where)
    server.status = 500
    places.find(inside, where)
    assert "1 seconds ago" in caplog.messages[-1]  # it was asked just now whether there is newer


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_lets_us_in_no_more_is_no_outage(inside: Workspace, server: Server, status: int) -> None:
    server.files["/rows.csv"] = b"a\n"
    where = Url(url=f"{server.url}/rows.csv")
    places.find(inside, where)
    server.status = status
    with pytest.raises(Denied, match=f"it answers {status}") as caught:
        places.find(inside, where)
    assert "STUDIOLO_OFFLINE=1 uses what was fetched 1 seconds ago" in str(caught.value.hint)
    inside.settings = replace(inside.settings, offline=1)
    assert places.find(inside, where).read_bytes() == b"a\n"


def test_a_missing_file_is_said_without_what_may_be_secret(inside: Workspace, server: Server) -> None:
    with pytest.raises(NotFound) as caught:
        places.find(inside, Url(url=f"{server.url}/none.csv?sig=SECRET"))
    assert "SECRET" not in str(caught.value)


def test_a_url_names_no_file_outside_of_the_cache(inside: Workspace, server: Server, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    for path in (quote(str(mine), safe=""), "..%2F..%2F..%2F..%2Fmine", "%2E%2E"):
        mine.write_text("mine")
        server.files[f"/{path}"] = b"theirs"
        found = places.find(inside, Url(url=f"{server.url}/{path}"))
        assert (mine.read_text(), found.read_bytes()) == ("mine", b"theirs")
        assert found.is_relative_to(cache_folder() / "data")


def test_a_name_says_nothing_to_the_shell(inside: Workspace, run: Submit, server: Server, tmp_path: Path) -> None:
    server.files["/a%3Becho%20far%3Bb"] = b"1\n"
    (tmp_path / "c;echo near;d").write_text("2\n")
    rest = (
        f"inputs:\n  far: {{type: uri_file, path: '{server.url}/a%3Becho%20far%3Bb'}}\n"
        "  near: {type: uri_file, path: 'c;echo near;d'}\n"
    )
    assert said(inside, run, "cat ${{inputs.far}} ${{inputs.near}}; basename ${{inputs.near}}", rest) == (
        "1\n2\nc_echo_near_d\n"
    )


def test_public_blobs_are_fetched_by_their_names(
    inside: Workspace, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host of a public container stands for a server of this machine here, and http for https."""
    host = f"acct.blob.core.test:{server.port}"
    monkeypatch.setattr("socket.getaddrinfo", _here)
    server.files["/box/rows/a.csv"] = b"a"
    server.files["/box"] = (
        b"\xef\xbb\xbf<EnumerationResults><Blobs><Blob><Name>rows/a.csv</Name></Blob>"
        b"<Blob><Name>rows/more/b c&amp;d.csv</Name></Blob></Blobs><NextMarker /></EnumerationResults>"
    )
    server.files["/box/rows/more/b%20c%26d.csv"] = b"b"
    monkeypatch.setattr(fetching, "_allowed", lambda _: lambda _: True)
    for slash in ("/", ""):
        found = places.find(inside, Url(url=f"http://{host}/box/rows{slash}"))
        assert sorted(path.relative_to(found).as_posix() for path in found.rglob("*") if path.is_file()) == [
            "a.csv", "more/b c&d.csv",
        ]  # fmt: skip
    assert any("comp=list" in path and "prefix=rows/" in path for path in server.asked)


def _here(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
    import socket

    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


def test_other_protocols_are_fsspecs_and_fetched_when_they_change(workspace: Workspace) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe({"/box/rows/a.csv": b"a", "/box/rows/b/c.csv": b"c"})
    where = Url(url="memory://box/rows")
    found = places.find(workspace, where)
    assert (found / "b" / "c.csv").read_bytes() == b"c"
    memory.pipe("/box/rows/a.csv", b"longer")
    assert (places.find(workspace, where) / "a.csv").read_bytes() == b"longer"
    assert places.find(workspace, Url(url="memory://box/rows/a.csv")).read_bytes() == b"longer"
    with pytest.raises(NotFound):
        places.find(workspace, Url(url="memory://box/none"))


@pytest.mark.parametrize("scheme", ["local", "LOCAL", "ftp", "webhdfs", "github", "memory::local", "simplecache::file"])
def test_a_protocol_that_goes_anywhere_is_refused(workspace: Workspace, tmp_path: Path, scheme: str) -> None:
    (tmp_path / "secret").write_text("s")
    where = Url(url=f"{scheme}://{tmp_path}/secret")
    with pytest.raises(Invalid, match="no protocol that is known"):
        places.find(workspace, where)
    with pytest.raises(Invalid, match="no protocol that is known"):
        fetching.send(Remote(url=where.url), tmp_path / "secret")


@pytest.mark.parametrize(("url", "package"), [("sftp://host/rows", "paramiko"), ("smb://host/rows", "smbprotocol")])
def test_a_protocol_whose_package_is_missing_says_which(workspace: Workspace, url: str, package: str) -> None:
    if find_spec(package) is not None:
        pytest.skip(f"{package} is installed here")
    with pytest.raises(MissingExtra, match=package) as caught:
        places.find(workspace, Url(url=url))
    assert caught.value.hint == f"pip install {package}"


def test_an_output_is_written_by_whatever_protocol(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "x").write_text("1")
    where = places.destination(workspace, "memory://sent/here", tmp_path)
    assert isinstance(where, Remote)
    fetching.send(where, tmp_path / "made")
    assert fsspec.filesystem("memory").cat("/sent/here/x") == b"1"
    with pytest.raises(Invalid, match="nothing can be written"):
        fetching.send(Remote(url="https://example.test/x"), tmp_path / "made")
