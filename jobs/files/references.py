"""How files name what is elsewhere: assets, registries, datastores, outputs of jobs, runs, URLs, local paths."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jobs.files.reading import Place
from jobs.files.shapes import Definitions, Schema, is_bound, named

PREFIX = "azureml:"
REGISTRY = "azureml://registries/"
FEED = "azureml://feeds/"

Kind = Literal["models", "components", "environments", "data", "codes"]

_VERSIONED = re.compile(
    r"/?subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+"
    r"/(?P<kind>[^/]+)/(?P<name>[^/]+)/versions/(?P<version>[^/]+)",
    re.IGNORECASE,
)
_IN_REGISTRY = re.compile(
    r"azureml://(?:registries|feeds)/(?P<registry>[^/]+)/(?P<kind>[^/]+)/(?P<name>[^/]+)"
    r"/(?:versions/(?P<version>[^/]+)|labels/(?P<label>[^/]+))"
)
_DATASTORE = re.compile(
    r"azureml://(?:subscriptions/[^/]+/resource[gG]roups/[^/]+/(?:providers/[^/]+/)?workspaces/[^/]+/)?"
    r"datastores/(?P<datastore>[^/]+)/paths/(?P<path>.*)"
)
_OUTPUT = re.compile(r"azureml://jobs/(?P<job>[^/]+)/outputs/(?P<output>[^/]+)(?:/paths/(?P<path>.*))?/?")
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://|git\+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An asset by name: of this workspace, or of a registry. Without version and label it is the latest."""

    name: str
    version: str | None = None
    label: str | None = None
    registry: str | None = None

    def __str__(self) -> str:
        tail = f":{self.version}" if self.version is not None else f"@{self.label}" if self.label is not None else ""
        return f"{PREFIX}{self.name}{tail}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatastorePath:
    """A path in a datastore."""

    datastore: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPath:
    """What a job has left: an output, and a path in it."""

    job: str
    output: str
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPath:
    """An artifact of an MLflow run."""

    run: str
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """Something to be fetched: https, wasbs, abfss, s3, git …"""

    url: str


Target = Reference | DatastorePath | OutputPath | RunPath | Url | Path


def target(written: str, folder: Path) -> Target:
    """Return what a path of a file means; local paths start in `folder`.

    >>> target("azureml://datastores/blob/paths/rows.csv", Path("."))
    DatastorePath(datastore='blob', path='rows.csv')
    """
    for pattern, made in ((_DATASTORE, DatastorePath), (_OUTPUT, OutputPath)):
        if found := pattern.fullmatch(written):
            return made(**{key: value or "" for key, value in found.groupdict().items()})
    if written.startswith("runs:/"):
        run, _, path = written.removeprefix("runs:/").partition("/")
        return RunPath(run=run, path=path)
    if (known := reference(written)) is not None:
        return known
    if _URL.match(written) and not written.startswith("file://"):
        return Url(url=written)
    local = Path(written.removeprefix("file://").removeprefix("file:")).expanduser()
    return (folder / local).resolve()


def reference(written: str) -> Reference | None:
    """Return the asset that a text names, or None: `azureml:name:1`, `azureml:name@latest`, an ARM or registry id."""
    if found := _IN_REGISTRY.fullmatch(written):
        parts = found.groupdict()
        parts.pop("kind")
        return Reference(**parts)
    if not written.startswith(PREFIX) or written.startswith(f"{PREFIX}//"):
        return None
    rest = written.removeprefix(PREFIX)
    if found := _VERSIONED.match(rest):
        return Reference(name=found["name"], version=found["version"])
    name, at, label = rest.rpartition("@")
    if at:
        return Reference(name=name, label=label)
    name, colon, version = rest.rstrip("/").rpartition("/")[2].partition(":")
    return Reference(name=name, version=version if colon else None)


@dataclass(frozen=True, slots=True)
class Asset:
    """A reference to an asset. `latest`: a name alone is enough."""

    kind: Kind
    latest: bool = True
    registry: bool = True

    def read(self, place: Place, value: Any) -> Reference | str:
        if is_bound(place, value):
            return str(value)
        if not isinstance(value, str):
            raise place.wrong(f"must name one of the {self.kind}, not {named(value)}")
        if self.registry and value.startswith((REGISTRY, FEED)):
            return reference(value) or Reference(name=value.rstrip("/").rpartition("/")[2], registry="")
        problem = self._problem(value)
        if problem:
            raise place.wrong(problem, hint=f"write azureml:{value.removeprefix(PREFIX)}:1 or azureml:name@latest")
        found = reference(value)
        if found is None:  # azureml:// and something that is no registry: the service would say so
            return Reference(name=value.rpartition("/")[2])
        return found

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": "string", "pattern": "^azureml:", "description": f"A reference to one of the {self.kind}."}

    def _problem(self, value: str) -> str | None:
        if not value.startswith(PREFIX):
            return f"must begin with `{PREFIX}`, as {value!r} does not"
        rest = value.removeprefix(PREFIX)
        if _VERSIONED.match(rest):
            return None
        if not rest or ("/" in rest and not rest.startswith("/")):
            return f"cannot be {value!r}"
        if self.latest or rest.rpartition("@")[2] != rest or ":" in rest:
            return None
        return f"needs a version or a label, as {value!r} has none"


@dataclass(frozen=True, slots=True)
class Local:
    """A file or folder on this machine that must be there; it becomes an absolute path."""

    folder: bool = True
    file: bool = True

    def read(self, place: Place, value: Any) -> Path | str:
        if is_bound(place, value):
            return str(value)
        if not isinstance(value, str):
            raise place.wrong(f"must be a path, not {named(value)}")
        found = self._found(place, value)
        if found is None:
            what = "file or folder" if self.folder and self.file else "folder" if self.folder else "file"
            hint = f"paths are relative to the folder of the file, {place.folder}"
            raise place.refused(f"no {what} at {value!r}", hint=hint)
        return found

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": "string"}

    def _found(self, place: Place, value: str) -> Path | None:
        try:
            path = (place.folder / value).resolve()
            there = (self.folder and path.is_dir()) or (self.file and path.is_file())
        except (OSError, ValueError):
            return None
        return path if there else None


@dataclass(frozen=True, slots=True)
class Code:
    """Where a job's code is: a folder or file of this machine, or a URL, a git address or an asset to fetch."""

    def read(self, place: Place, value: Any) -> Path | Reference | Url | str:
        if is_bound(place, value):
            return str(value)
        if not isinstance(value, str):
            raise place.wrong(f"must be a path, not {named(value)}")
        if (local := Local()._found(place, value)) is not None:
            return local
        if value.startswith(PREFIX):
            asset = Asset("codes", latest=value.startswith((REGISTRY, FEED)))
            return asset.read(place, value)
        if value.startswith("git+") or is_web(value):
            return Url(url=value)
        return Local().read(place, value)

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002
        return {"type": "string"}


def is_web(value: str) -> bool:
    """Return whether a text is a URL with a host, of a scheme that Azure ML's package knows as one."""
    return re.match(r"(?i)(https?|ftps?)://[^/\s]+\.?[^/\s]*(/\S*)?$", value) is not None
