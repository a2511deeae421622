"""Inputs from wherever files name them: URLs, datastores, public blobs, git, tables; fetched once, mapped, refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry as registered

from jobs import assets
from jobs.data import fetching, places
from jobs.data.datastores import Remote
from jobs.files.references import DatastorePath, OutputPath, Url, target
from jobs.submit import stream, wait
from tests.jobs.conftest import LONG, Submit
from workspace.errors import Invalid, MissingExtra, NotFound, Unavailable
from workspace.home import Workspace
from workspace.settings import cache_folder


@dataclass
class Server:
    """A server of files on this machine, and what it was asked."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    sent: int = 0
    authorized: set[str | None] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            found.asked.append(self.path)
            found.authorized.add(self.headers.get("Authorization"))
            content = found.files.get(self.path.partition("?")[0])
            etag = f'"{hash(content)}"'
            if content is None:
                self.send_error(404)
                return
            if self.headers.get("If-None-Match") == etag:
                self.send_response(304)
                self.end_headers()
                return
            found.sent += 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", etag)
            self.end_headers()
            self.wfile.write(content)

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = made.server_port
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield found
    made.shutdown()
    made.server_close()


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def inside(workspace: Workspace) -> Workspace:
    """A workspace that may fetch from this machine, as from a server in one's own network."""
    workspace.settings = replace(workspace.settings, data_hosts="localhost,127.0.0.1")
    return workspace


def said(workspace: Workspace, run: Submit, command: str, rest: str) -> str:
    job = run(command, rest)
    wait(workspace, job.name, seconds=LONG)
    return b"".join(stream(workspace, job.name)).decode()


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


def test_a_server_that_has_gone_leaves_what_was_fetched(inside: Workspace, server: Server) -> None:
    server.files["/rows.csv"] = b"a\n"
    where = Url(url=f"{server.url}/rows.csv")
    places.find(inside, where)
    remote = Remote(url=where.url.replace(str(server.port), "1"))
    kept, gone = (cache_folder() / "data" / fetching.key(each) for each in (where.url, remote.url))
    kept.rename(gone)
    assert fetching.fetch(inside.settings, remote).read_bytes() == b"a\n"


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


def test_a_map_of_data_makes_public_data_local(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    (tmp_path / "datasets" / "rows").mkdir(parents=True)
    (tmp_path / "datasets" / "rows" / "a.txt").write_text("a\n")
    (tmp_path / "data_map.yml").write_text("https://example.test/data/: ./datasets/\n")
    rest = "inputs:\n  rows:\n    type: uri_folder\n    path: https://example.test/data/rows\n    mode: "
    for mode in ("ro_mount", "download", "direct"):
        assert said(workspace, run, "cat ${{inputs.rows}}/a.txt", rest + mode + "\n") == "a\n"


def test_maps_count_from_near_to_far_and_the_longest_beginning_wins(workspace: Workspace, tmp_path: Path) -> None:
    for name in ("near", "near2", "far", "set"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)
    job = tmp_path / "job"
    job.mkdir()
    (workspace.home / "data_map.yml").write_text(f"https://a.test/: {tmp_path}/far\nhttps://b.test: {tmp_path}/far\n")
    named = tmp_path / "maps.yml"
    named.write_text("https://c.test/: set\n")
    workspace.settings = replace(workspace.settings, data_map=str(named))
    (job / "data_map.yml").write_text("https://a.test/: ../near\nhttps://a.test/2/: ../near2\n")

    def found(url: str) -> str:
        return places.find(workspace, Url(url=url), folder=job).read_text()

    urls = ("https://a.test/x", "https://a.test/2/x", "https://b.test/x?sig=1", "https://c.test/x")
    assert [found(url) for url in urls] == ["near", "near2", "far", "set"]
    with pytest.raises(NotFound, match="which is not there"):
        found("https://a.test/gone")
    with pytest.raises(Invalid, match="not allowed"):
        found("https://a.test/../../etc/passwd")
    (job / "data_map.yml").write_text("- a\n")
    with pytest.raises(Invalid, match="mapping from URLs to paths"):
        found("https://a.test/x")


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


def test_an_import_gives_s3_its_key(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    class Locked(MemoryFileSystem):  # type: ignore[misc]
        """A store of fsspec that opens to a key."""

        protocol = "s3"

        def __init__(self, key: str = "", secret: str = "") -> None:
            if (key, secret) != ("k", "s"):
                raise PermissionError("no key")
            super().__init__()

    monkeypatch.setitem(registered, "s3", Locked)
    Locked(key="k", secret="s").pipe("s3://shut/rows.csv", b"a")
    credentials = {"type": "access_key", "access_key_id": "k", "secret_access_key": "s"}
    remote = Remote(url="s3://shut/rows.csv", options=fetching.options_of({"type": "s3", "credentials": credentials}))
    assert fetching.fetch(workspace.settings, remote).read_bytes() == b"a"


@pytest.mark.parametrize("scheme", ["local", "LOCAL", "ftp", "webhdfs", "github", "memory::local", "simplecache::file"])
def test_a_protocol_that_goes_anywhere_is_refused(workspace: Workspace, tmp_path: Path, scheme: str) -> None:
    (tmp_path / "secret").write_text("s")
    where = Url(url=f"{scheme}://{tmp_path}/secret")
    with pytest.raises(Invalid, match="no protocol that is known"):
        places.find(workspace, where)
    with pytest.raises(Invalid, match="no protocol that is known"):
        fetching.send(Remote(url=where.url), tmp_path / "secret")


@pytest.mark.parametrize(("url", "package"), [("s3://bucket/rows", "s3fs"), ("gs://bucket/rows", "gcsfs")])
def test_a_protocol_whose_package_is_missing_says_which(workspace: Workspace, url: str, package: str) -> None:
    if find_spec(package) is not None:
        pytest.skip(f"{package} is installed here")
    with pytest.raises(MissingExtra, match=package) as caught:
        places.find(workspace, Url(url=url))
    assert caught.value.hint == f"pip install {package}"


def test_a_datastore_of_the_workspace_is_a_folder_of_it(workspace: Workspace, run: Submit) -> None:
    place = workspace.home / "datastores" / "workspaceblobstore" / "rows"
    place.mkdir(parents=True)
    (place / "a.txt").write_text("a\n")
    base = "azureml://datastores/workspaceblobstore/paths"
    rest = f"inputs:\n  rows:\n    type: uri_folder\n    path: {base}/rows\n"
    assert said(workspace, run, "cat ${{inputs.rows}}/a.txt", rest) == "a\n"
    long = "azureml://subscriptions/s/resourcegroups/r/workspaces/w/datastores/workspaceblobstore/paths/rows/a.txt"
    assert places.find(workspace, target(long, workspace.home)).read_text() == "a\n"
    with pytest.raises(Invalid, match="not allowed"):
        places.find(workspace, DatastorePath(datastore="workspaceblobstore", path="../../studiolo.db"))


def test_the_path_that_data_is_shown_with_can_be_read(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n")
    shown = assets.create(workspace, "data", {"name": "rows", "path": "rows.csv", "type": "uri_file"}, folder=tmp_path)
    assert places.find(workspace, target(shown["path"], tmp_path)).read_text() == "a\n"


def test_another_datastore_is_what_its_tag_or_a_map_says(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "a").write_text("a")
    where = DatastorePath(datastore="lake", path="a")
    with pytest.raises(NotFound, match="no datastore 'lake'"):
        places.find(workspace, where)
    (workspace.home / "data_map.yml").write_text(f"azureml://datastores/lake/paths/: {tmp_path}/lake\n")
    assert places.find(workspace, where).read_text() == "a"
    (workspace.home / "data_map.yml").unlink()
    store = {"name": "lake", "type": "azure_blob", "account_name": "a", "container_name": "c"}
    assets.create(workspace, "datastore", {**store, "tags": {"studiolo.path": str(tmp_path / "lake")}})
    assert places.find(workspace, where).read_text() == "a"
    fsspec.filesystem("memory").pipe("/lake/a", b"m")
    assets.create(workspace, "datastore", {**store, "tags": {"studiolo.path": "memory://lake"}})
    assert places.find(workspace, where).read_text() == "m"


def test_a_key_of_a_datastore_needs_a_package_and_is_never_told(workspace: Workspace) -> None:
    if find_spec("adlfs") is not None:
        pytest.skip("adlfs is installed here")
    store = {
        "name": "far", "type": "azure_blob", "account_name": "a", "container_name": "c",
        "credentials": {"account_key": "canary-88aa"},
    }  # fmt: skip
    assets.create(workspace, "datastore", store)
    with pytest.raises(MissingExtra, match="adlfs") as caught:
        places.find(workspace, DatastorePath(datastore="far", path="rows"))
    assert "canary" not in str(caught.value) + str(caught.value.hint)


def test_registered_data_that_is_elsewhere_is_read_and_named(
    inside: Workspace, run: Submit, server: Server, tmp_path: Path
) -> None:
    server.files["/rows.csv"] = b"a\n"
    assets.create(
        inside, "data", {"name": "far", "type": "uri_file", "path": f"{server.url}/rows.csv"}, folder=tmp_path
    )
    rest = "name: reads\ninputs:\n  rows:\n    type: uri_file\n    path: azureml:far@latest\n"
    assert said(inside, run, "cat ${{inputs.rows}}", rest) == "a\n"
    assert any(edge.source == "data:far:1" for edge in inside.lineage.upstream(f"run:{_run(inside, 'reads')}"))


def _run(workspace: Workspace, name: str) -> str:
    from jobs import records

    return str(records.get(workspace, name).run_id)


def test_all_that_a_run_has_left_is_an_output_too(workspace: Workspace, run: Submit) -> None:
    wait(workspace, run("mkdir outputs; echo w > outputs/w", "name: first\n").name, seconds=LONG)
    for name in ("artifacts", "default"):
        found = places.find(workspace, OutputPath(job="first", output=name, path="outputs/w"))
        assert found.read_text() == "w\n"
    model = {"name": "net", "path": f"runs:/{_run(workspace, 'first')}/outputs/w", "type": "custom_model"}
    assert assets.create(workspace, "model", model)["version"] == "1"
    model["path"] = "azureml://jobs/first/outputs/artifacts/paths/outputs/"
    shown = assets.create(workspace, "model", model)
    assert (shown["version"], shown["job_name"]) == ("2", "first")
    assert [edge.source for edge in workspace.lineage.upstream("model:net:2", depth=1)] == [
        f"run:{_run(workspace, 'first')}"
    ]


def repository(folder: Path) -> str:
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "go.py").write_text("print('from git')\n")
    for line in (
        ["init", "-q", "-b", "main"], ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "-m", "one"], ["tag", "v1"],
    ):  # fmt: skip
        subprocess.run(["git", "-C", str(folder), *line], check=True)  # noqa: S607
    return f"git+file://{folder}"


def test_code_comes_from_git(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    url = repository(tmp_path / "repository")
    assert said(workspace, run, "python go.py", f"code: {url}@v1#subdirectory=src\n") == "from git\n"
    assert said(workspace, run, "python src/go.py", f"code: {url}\n") == "from git\n"
    with pytest.raises(Unavailable, match="cannot be fetched"):
        run("true", f"code: {url}@none\n")
    with pytest.raises(NotFound, match="no folder 'gone'"):
        run("true", f"code: {url}#subdirectory=gone\n")


def test_git_asks_nobody_inside_and_shows_no_credentials(
    workspace: Workspace, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "repository"
    repository(folder)
    subprocess.run(["git", "-C", str(folder), "update-server-info"], check=True)  # noqa: S607
    for path in (folder / ".git").rglob("*"):
        if path.is_file():
            server.files[f"/code.git/{path.relative_to(folder / '.git').as_posix()}"] = path.read_bytes()
    where = Url(url=f"git+http://ann:canary-77@127.0.0.1:{server.port}/code.git@v1")
    with pytest.raises(Invalid, match="inside this machine"):
        places.find(workspace, where)
    assert server.asked == []
    lines = tmp_path / "lines"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(f'#!/bin/sh\necho "$@" >> {lines}\nexec {shutil.which("git")} "$@"\n')
    (tmp_path / "bin" / "git").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    workspace.settings = replace(workspace.settings, data_hosts="127.0.0.1")
    assert (places.find(workspace, where) / "src" / "go.py").exists()
    assert "canary" not in lines.read_text()
    assert server.authorized == {f"Basic {b64encode(b'ann:canary-77').decode()}"}


def test_code_is_an_asset_of_a_job_before(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "go.py").write_text("print('kept')\n")
    job = run("python go.py", "code: src\n")
    wait(workspace, job.name, seconds=LONG)
    code = str(job.spec["code_asset"]).removeprefix("code:")
    assert said(workspace, run, "python go.py", f"code: azureml:{code}\n") == "kept\n"


def test_a_registered_environment_is_used_by_its_name(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    (tmp_path / "conda.yml").write_text("dependencies: [python=3.11]\n")
    made = {"name": "mine", "image": "ubuntu:22.04", "conda_file": "conda.yml"}
    assets.create(workspace, "environment", made, folder=tmp_path)
    job = run("true", "environment: azureml:mine@latest\n")
    wait(workspace, job.name, seconds=LONG)
    assert job.spec["environment"]["conda_file"] == {"dependencies": ["python=3.11"]}
    json.dumps(job.spec)


def test_an_output_goes_where_its_file_says(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    store = {"name": "lake", "type": "azure_blob", "account_name": "a", "container_name": "c"}
    assets.create(workspace, "datastore", {**store, "tags": {"studiolo.path": str(tmp_path / "lake")}})
    paths = {
        "one": "azureml://datastores/${{default_datastore}}/paths/kept/${{name}}/${{output_name}}",
        "two": "azureml://datastores/lake/paths/here",
        "three": "beside/it",
    }
    outputs = "".join(f"  {name}: {{path: '{path}'}}\n" for name, path in paths.items())
    command = " && ".join(f"echo {name} > ${{{{outputs.{name}}}}}/x" for name in paths)
    job = run(command, f"name: sends\noutputs:\n{outputs}")
    assert wait(workspace, job.name, seconds=LONG).status == "Completed"
    blobs = workspace.home / "datastores" / "workspaceblobstore"
    assert (blobs / "kept" / "sends" / "one" / "x").read_text() == "one\n"
    assert (tmp_path / "lake" / "here" / "x").read_text() == "two\n"
    assert (tmp_path / "beside" / "it" / "x").read_text() == "three\n"
    default = DatastorePath(datastore="workspaceblobstore", path="azureml/sends/two/x")
    assert places.find(workspace, default).read_text() == "two\n"


def test_an_output_with_a_name_is_registered_with_its_version(workspace: Workspace, run: Submit) -> None:
    rest = "outputs:\n  o: {name: words, version: '7', type: uri_folder}\n"
    wait(workspace, run("echo a > ${{outputs.o}}/x", rest).name, seconds=LONG)
    shown = assets.show(workspace, "data", "words")
    assert (shown["version"], shown["type"]) == ("7", "uri_folder")


def test_an_output_is_written_by_whatever_protocol(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "x").write_text("1")
    where = places.destination(workspace, "memory://sent/here", tmp_path)
    assert isinstance(where, Remote)
    fetching.send(where, tmp_path / "made")
    assert fsspec.filesystem("memory").cat("/sent/here/x") == b"1"
    with pytest.raises(Invalid, match="nothing can be written"):
        fetching.send(Remote(url="https://example.test/x"), tmp_path / "made")


def test_the_steps_of_a_pipeline_read_by_its_map(workspace: Workspace, tmp_path: Path) -> None:
    from jobs.create import create
    from jobs.files import read_job

    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.txt").write_text("mapped\n")
    (tmp_path / "data_map.yml").write_text("https://example.test/: ./far/\n")
    (tmp_path / "pipeline.yml").write_text(
        "type: pipeline\nname: maps\ninputs:\n  far: {type: uri_file, path: https://example.test/a.txt}\njobs:\n"
        "  say:\n    type: command\n    command: cat ${{inputs.far}}\n"
        "    inputs: {far: '${{parent.inputs.far}}'}\n"
    )
    job = wait(workspace, create(workspace, read_job(tmp_path / "pipeline.yml")).name, seconds=LONG)
    assert job.status == "Completed", job.error
    assert b"mapped\n" in b"".join(stream(workspace, "maps_say"))
