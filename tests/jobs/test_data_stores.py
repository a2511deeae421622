"""Object stores as they are: servers that speak S3 and Google's protocol, over HTTP, on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import httpx
import pytest

from jobs import assets
from jobs.data import fetching, places
from jobs.data.datastores import Remote
from jobs.files.references import DatastorePath, Url
from jobs.submit import wait
from tests.jobs.conftest import LONG, Submit
from tests.jobs.file_server import cache as cache
from tests.jobs.file_server import said as said
from workspace.errors import Denied, NotFound, Unavailable
from workspace.home import Workspace

BUCKET = "box"
KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "canary-77", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def s3_port() -> Iterator[int]:
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture(scope="module")
def gcs_port() -> Iterator[int]:
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    pytest.importorskip("gcsfs")
    server = emulator.create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    yield server._api._httpd.server_port
    server.stop()


@pytest.fixture(params=["s3", "gs"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty bucket of a store: `store.protocol` says of which."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    if request.param == "s3":
        port = request.getfixturevalue("s3_port")
        settings = KEYS | {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}", "AWS_EC2_METADATA_DISABLED": "true"}
    else:
        port = request.getfixturevalue("gcs_port")
        # A call of gRPC that this server does not know asks what kind of bucket it is.
        settings = {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}", "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class(request.param).clear_instance_cache()
    system = fsspec.filesystem(request.param)
    system.mkdir(BUCKET)
    yield system
    system.invalidate_cache()
    system.rm(BUCKET, recursive=True)


def scheme(store: Any) -> str:
    return "s3" if "s3" in store.protocol else "gs"


def test_a_store_is_read_and_read_again_when_it_changes(workspace: Workspace, store: Any) -> None:
    store.pipe({f"{BUCKET}/rows/a.csv": b"a", f"{BUCKET}/rows/b/c d.csv": b"c", f"{BUCKET}/other": b"o"})
    where = Url(url=f"{scheme(store)}://{BUCKET}/rows")
    found = places.find(workspace, where)
    assert sorted(path.relative_to(found).as_posix() for path in found.rglob("*") if path.is_file()) == [
        "a.csv", "b/c d.csv",
    ]  # fmt: skip
    assert places.find(workspace, where) == found
    fsspec.filesystem(scheme(store), skip_instance_cache=True).pipe(f"{BUCKET}/rows/a.csv", b"longer")
    assert (places.find(workspace, where) / "a.csv").read_bytes() == b"longer"
    assert places.find(workspace, Url(url=f"{where.url}/a.csv")).read_bytes() == b"longer"
    with pytest.raises(NotFound, match="there is nothing"):
        places.find(workspace, Url(url=f"{where.url}-none"))


def test_the_mark_of_a_folder_is_no_file(workspace: Workspace, store: Any) -> None:
    store.pipe({f"{BUCKET}/rows/": b"", f"{BUCKET}/rows/a.csv": b"a"})
    found = places.find(workspace, Url(url=f"{scheme(store)}://{BUCKET}/rows"))
    assert [path.name for path in found.rglob("*")] == ["a.csv"]


def test_jobs_read_and_write_a_datastore_in_a_store(workspace: Workspace, run: Submit, store: Any) -> None:
    """A datastore's tag says where it stands; the modes are those of any input."""
    store.pipe(f"{BUCKET}/lake/rows/a.csv", b"a\n")
    base = {"name": "lake", "type": "azure_blob", "account_name": "a", "container_name": "c"}
    assets.create(workspace, "datastore", base | {"tags": {"studiolo.path": f"{scheme(store)}://{BUCKET}/lake"}})
    path = "azureml://datastores/lake/paths/rows"
    for mode in ("ro_mount", "download"):
        rest = f"inputs:\n  rows: {{type: uri_folder, path: '{path}', mode: {mode}}}\n"
        assert said(workspace, run, "cat ${{inputs.rows}}/a.csv", rest) == "a\n"
    direct = f"inputs:\n  rows: {{type: uri_folder, path: '{scheme(store)}://{BUCKET}/lake/rows', mode: direct}}\n"
    assert said(workspace, run, "echo ${{inputs.rows}}", direct) == f"{scheme(store)}://{BUCKET}/lake/rows\n"
    out = "outputs:\n  o: {type: uri_folder, path: 'azureml://datastores/lake/paths/made'}\n"
    job = run("mkdir ${{outputs.o}}/sub && echo b > ${{outputs.o}}/sub/b.csv", out)
    assert wait(workspace, job.name, seconds=LONG).status == "Completed"
    store.invalidate_cache()
    assert store.cat(f"{BUCKET}/lake/made/sub/b.csv") == b"b\n"
    assert places.find(workspace, DatastorePath(datastore="lake", path="made/sub/b.csv")).read_text() == "b\n"


def test_no_bucket_is_made_by_a_name_that_is_wrong(workspace: Workspace, store: Any, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    with pytest.raises(NotFound):
        fetching.send(Remote(url=f"{scheme(store)}://bax/here/x"), tmp_path / "x")
    store.invalidate_cache()
    assert not store.exists("bax")


def test_offline_what_a_store_gave_is_used(workspace: Workspace, store: Any) -> None:
    store.pipe(f"{BUCKET}/a.csv", b"a")
    where = Url(url=f"{scheme(store)}://{BUCKET}/a.csv")
    found = places.find(workspace, where)
    workspace.settings = replace(workspace.settings, offline=1)
    assert places.find(workspace, where) == found
    with pytest.raises(Unavailable, match="was not fetched before"):
        places.find(workspace, Url(url=f"{scheme(store)}://{BUCKET}/b.csv"))


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_store_that_does_not_answer_is_an_outage(
    workspace: Workspace, store: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.pipe(f"{BUCKET}/a.csv", b"a")
    found = places.find(workspace, Url(url=f"s3://{BUCKET}/a.csv"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store.clear_instance_cache()
    assert places.find(workspace, Url(url=f"s3://{BUCKET}/a.csv")) == found
    assert "what was fetched 1 seconds ago is used" in caplog.text
    with pytest.raises(Unavailable, match="cannot be reached"):
        places.find(workspace, Url(url=f"s3://{BUCKET}/b.csv"))


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_wrong_key_is_said_and_told_nobody_and_nobody_reads_what_is_public(
    workspace: Workspace, store: Any, s3_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.pipe(f"{BUCKET}/a.csv", b"a")
    store.chmod(f"{BUCKET}/a.csv", acl="public-read")
    for name in KEYS:
        monkeypatch.delenv(name)
    store.clear_instance_cache()
    assert places.find(workspace, Url(url=f"s3://{BUCKET}/a.csv")).read_bytes() == b"a"
    credentials = {"type": "access_key", "access_key_id": "wrong", "secret_access_key": "canary-77"}
    options = fetching.options_of({"type": "s3", "credentials": credentials})
    rules = f"http://127.0.0.1:{s3_port}/moto-api/reset-auth"
    httpx.post(rules, content=b"0").raise_for_status()  # from now on keys are looked at
    try:
        with pytest.raises(Denied, match="not open to us") as caught:
            fetching.fetch(workspace.settings, Remote(url=f"s3://{BUCKET}/b.csv", options=options))
    finally:
        httpx.post(rules, content=b"inf").raise_for_status()
    assert "canary" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"
