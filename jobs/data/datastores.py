"""Paths in datastores: folders of the workspace, folders of this machine, or URLs of what is elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.assets import datastores, kept
from jobs.files.references import DatastorePath
from jobs.folders import outputs_of
from workspace.blobs import Blob
from workspace.errors import Invalid, NotFound, Unavailable
from workspace.paths import safe_join

if TYPE_CHECKING:
    from workspace.home import Workspace

PATH = "studiolo.path"  # the tag that says what a datastore is here: a folder, or a URL
_UPLOAD = re.compile(r"LocalUpload/(?P<digest>[0-9a-f]{64})(?:/(?P<rest>.*))?")
_OUTPUT = re.compile(r"azureml/(?P<job>[^/]+)/(?P<output>[^/]+)(?:/(?P<rest>.*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """What is elsewhere: a URL, and what fsspec is told to get in. The secrets among that are in no text."""

    url: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def locate(workspace: Workspace, where: DatastorePath) -> Path | Remote:
    """Return where a path of a datastore is; whether anything is there is not looked at."""
    path = where.path.strip("/")
    if where.datastore in datastores.OWN:
        return _own(workspace, where.datastore, path)
    resource = workspace.resources.find(datastores.KIND, where.datastore)
    if resource is None:
        raise NotFound(
            f"no datastore {where.datastore!r}",
            hint="register it (studiolo datastore create -f FILE), or say in data_map.yml where its files are: "
            f"azureml://datastores/{where.datastore}/paths/: ./folder/",
        )
    said = kept.opened(workspace, resource)
    stands = str((said.get("tags") or {}).get(PATH) or "")
    if stands and "://" not in stands:
        root = Path(stands).expanduser()
        return safe_join(root, path) if path else root
    if stands:
        return Remote(url=f"{stands.rstrip('/')}/{path}")
    return _remote(where.datastore, said, path)


def _own(workspace: Workspace, name: str, path: str) -> Path:
    """A folder of the workspace. Where Azure ML would have put uploads and outputs, are those of ours."""
    if name == datastores.DEFAULT and (upload := _UPLOAD.fullmatch(path)):
        return _upload(workspace, upload["digest"], upload["rest"] or "")
    if name == datastores.DEFAULT and (output := _OUTPUT.fullmatch(path)):
        place = outputs_of(workspace.home, output["job"]) / output["output"]
        if place.exists():
            return safe_join(place, output["rest"].strip("/")) if output["rest"] else place
    root = workspace.home / "datastores" / name
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return safe_join(root, path) if path else root


def _upload(workspace: Workspace, digest: str, rest: str) -> Path:
    from sqlalchemy import select

    from workspace.tables import assets

    with workspace.database.read() as connection:
        found = connection.execute(select(assets).filter_by(digest=f"sha256:{digest}").limit(1)).first()
    if found is None:
        raise NotFound("nothing that was uploaded has this digest", hint="name the data itself: azureml:NAME:VERSION")
    place = workspace.home / "checkouts" / digest
    if not found.is_folder:
        place = place / Path(rest or found.name).name
    placed = workspace.blobs.materialise(Blob(found.digest, found.size, found.is_folder), place)
    return safe_join(placed, rest.strip("/")) if found.is_folder and rest.strip("/") else placed


def _remote(name: str, said: Mapping[str, Any], path: str) -> Remote:
    kind, credentials = said["type"], dict(said.get("credentials") or {})
    account, endpoint = said.get("account_name"), said.get("endpoint", "core.windows.net")
    options = {"account_name": account} | {
        key: credentials[key]
        for key in ("account_key", "sas_token", "tenant_id", "client_id", "client_secret")
        if key in credentials
    }
    if kind == "azure_blob":
        return Remote(url=f"wasbs://{said['container_name']}@{account}.blob.{endpoint}/{path}", options=options)
    if kind == "azure_data_lake_gen2":
        return Remote(url=f"abfss://{said['filesystem']}@{account}.dfs.{endpoint}/{path}", options=options)
    if kind == "hdfs":
        return Remote(url=f"hdfs://{said['name_node_address'].partition('://')[2] or said['name_node_address']}/{path}")
    if kind not in ("azure_file", "azure_data_lake_gen1", "one_lake"):
        raise Invalid(f"datastore {name!r} is of type {kind!r}, of which nothing is known")
    raise Unavailable(
        f"datastore {name!r} is of type {kind}, which cannot be read from here",
        hint=f"say where its files are: studiolo datastore update -n {name} --set 'tags.\"{PATH}\"=/folder', "
        "or in data_map.yml",
    )
