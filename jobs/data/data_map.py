"""`data_map.yml`: which URLs of data are files and folders of this machine, so that nothing need be fetched.

    https://azuremlexamples.blob.core.windows.net/datasets/: ./datasets/
    azureml://datastores/lake/paths/: /data/lake/

The longest beginning that fits counts; of maps, the one beside the file that names the URL, then the workspace's, then
the one that STUDIOLO_DATA_MAP names. Paths in a map start in its own folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from workspace.documents import read_yaml
from workspace.errors import Invalid, NotFound
from workspace.home import Workspace
from workspace.paths import safe_join

NAME = "data_map.yml"


def find(workspace: Workspace, url: str, folder: Path | None) -> Path | None:
    """Return what a URL is on this machine, or None where no map says so; NotFound where a map names what is not there.

    `folder` is where the file lies that names the URL.
    """
    for path in _maps(workspace, folder):
        fitting = [(prefix, place) for prefix, place in read(path).items() if _fits(prefix, url)]
        if fitting:
            prefix, place = max(fitting, key=lambda each: len(each[0]))
            rest = url[len(prefix) :].partition("?")[0].strip("/")
            found = safe_join(place, rest) if rest else place
            if not found.exists():
                raise NotFound(f"{path} says that {url!r} is {found}, which is not there", hint="correct the map")
            return found
    return None


def read(path: Path) -> dict[str, Path]:
    """Return what a map says: where each beginning of a URL is."""
    document = read_yaml(path)
    if document.root is None:
        return {}
    if not isinstance(document.root, dict):
        raise Invalid("a map of data is a mapping from URLs to paths", at=document.at())
    found = {}
    for prefix, written in document.root.items():
        if not isinstance(written, str) or "://" not in str(prefix):
            hint = "https://example.org/data/: ./data/"
            raise Invalid("each line of a map of data is a URL and a path", hint=hint, at=document.at(prefix))
        found[str(prefix)] = (path.parent / Path(written).expanduser()).resolve()
    return found


def _maps(workspace: Workspace, folder: Path | None) -> Iterator[Path]:
    named = workspace.settings.data_map
    places = [folder / NAME] if folder else []
    places += [workspace.home / NAME, *([Path(named).expanduser()] if named else [])]
    yield from (path for path in places if path.is_file())


def _fits(prefix: str, url: str) -> bool:
    """Whether a URL is a prefix, or something under it: `…/rows` is not the beginning of `…/rows-2`."""
    bare = url.partition("?")[0]
    return bare == prefix or bare.startswith(prefix if prefix.endswith("/") else f"{prefix}/")
