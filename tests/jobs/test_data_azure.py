"""Blobs of Azure as they are: Azurite, Microsoft's own server for tests, over HTTPS, where npm has brought it."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
from aiohttp import connector

from jobs import assets
from jobs.data import fetching, places
from jobs.data.datastores import Remote
from jobs.files.references import DatastorePath, Url
from tests.jobs.file_server import cache as cache
from workspace.errors import Denied, NotFound
from workspace.home import Workspace

ACCOUNT, BOX = "acct", "box"
HOST = f"{ACCOUNT}.blob.core.test"  # what Azure calls an account; it stands for this machine here
KEY = base64.b64encode(b"canary".ljust(32, b".")).decode()


@dataclass(frozen=True)
class Azurite:
    port: int
    certificate: Path

    @property
    def host(self) -> str:
        return f"{HOST}:{self.port}"


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    program, openssl = shutil.which("azurite-blob"), shutil.which("openssl")
    if program is None or openssl is None:
        pytest.skip("Azurite is not here: npm install --global azurite")
    pytest.importorskip("adlfs")
    folder = tmp_path_factory.mktemp("azurite")
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}"]
    files = ["-keyout", "key.pem", "-out", "certificate.pem", "-addext", f"subjectAltName=DNS:{HOST}"]
    subprocess.run([openssl, *made, *files], check=True, capture_output=True, cwd=folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    line = [
        program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--cert", "certificate.pem", "--key", "key.pem",
        "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent",
    ]  # fmt: skip
    accounts = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
    with subprocess.Popen(line, env=accounts, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        said = ""
        while "successfully listens" not in said:
            said = server.stdout.readline()
            assert said, "Azurite has ended"
        yield Azurite(port, folder / "certificate.pem")
        server.kill()  # it would wait for connections that clients keep


@pytest.fixture
def box(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty container of the account, as fsspec sees it with the account's key."""
    real = socket.getaddrinfo

    def here(host: Any, *rest: Any, **named: Any) -> Any:
        return real("127.0.0.1" if str(host) == HOST else host, *rest, **named)

    monkeypatch.setattr("socket.getaddrinfo", here)
    monkeypatch.setenv("SSL_CERT_FILE", str(azurite.certificate))
    connector._SSL_CONTEXT_VERIFIED.load_verify_locations(azurite.certificate)  # it has read the file long ago
    fsspec.get_filesystem_class("abfs").clear_instance_cache()
    system = fsspec.filesystem("abfs", account_name=ACCOUNT, account_key=KEY, account_host=azurite.host)
    system.mkdir(BOX)
    yield system
    system.rm(BOX, recursive=True)


def registered(workspace: Workspace, azurite: Azurite, **credentials: str) -> None:
    store = {
        "name": "lake", "type": "azure_blob", "account_name": ACCOUNT, "container_name": BOX,
        "endpoint": f"core.test:{azurite.port}", "credentials": credentials,
    }  # fmt: skip
    assets.create(workspace, "datastore", store)


def test_a_datastore_is_read_and_written_with_its_key(
    workspace: Workspace, azurite: Azurite, box: Any, tmp_path: Path
) -> None:
    registered(workspace, azurite, account_key=KEY)
    box.pipe({f"{BOX}/rows/a.csv": b"a", f"{BOX}/rows/b/c.csv": b"c"})
    where = DatastorePath(datastore="lake", path="rows")
    found = places.find(workspace, where)
    assert (found / "b" / "c.csv").read_bytes() == b"c"
    assert places.find(workspace, where) == found
    box.pipe(f"{BOX}/rows/a.csv", b"longer")
    assert (places.find(workspace, where) / "a.csv").read_bytes() == b"longer"
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "x").write_text("1")
    there = places.destination(workspace, "azureml://datastores/lake/paths/sent", tmp_path)
    assert isinstance(there, Remote)
    fetching.send(there, tmp_path / "made")
    assert box.cat(f"{BOX}/sent/x") == b"1"
    with pytest.raises(NotFound):
        places.find(workspace, DatastorePath(datastore="lake", path="none"))


def test_a_wrong_key_is_said_and_told_nobody(workspace: Workspace, azurite: Azurite, box: Any) -> None:
    wrong = base64.b64encode(b"wrong".ljust(32, b".")).decode()
    registered(workspace, azurite, account_key=wrong)
    box.pipe(f"{BOX}/rows/a.csv", b"a")
    with pytest.raises(Denied, match="not open to us") as caught:
        places.find(workspace, DatastorePath(datastore="lake", path="rows"))
    assert wrong not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"


def test_a_token_and_a_public_container_need_no_package(workspace: Workspace, azurite: Azurite, box: Any) -> None:
    blob = pytest.importorskip("azure.storage.blob")
    workspace.settings = replace(workspace.settings, data_hosts=HOST)
    box.pipe({f"{BOX}/rows/a.csv": b"a", f"{BOX}/rows/b c.csv": b"c"})
    public = Url(url=f"wasbs://{BOX}@{azurite.host}/rows")
    with pytest.raises((Denied, NotFound)):
        places.find(workspace, public)
    token = blob.generate_account_sas(
        ACCOUNT, KEY, blob.ResourceTypes(container=True, object=True), blob.AccountSasPermissions(read=True, list=True),
        datetime.now(UTC) + timedelta(hours=1),
    )  # fmt: skip
    registered(workspace, azurite, sas_token=token)
    found = places.find(workspace, DatastorePath(datastore="lake", path="rows"))
    assert sorted(path.name for path in found.iterdir()) == ["a.csv", "b c.csv"]
    service = blob.BlobServiceClient(
        f"https://{azurite.host}", credential=KEY, connection_verify=str(azurite.certificate)
    )
    with service, service.get_container_client(BOX) as container:
        container.set_container_access_policy({}, public_access="container")
    for where in (public, Url(url=f"https://{azurite.host}/{BOX}/rows/")):
        assert (places.find(workspace, where) / "b c.csv").read_bytes() == b"c"
