"""Files of the Hub's datasets: `hf://datasets/OWNER/NAME@REVISION/FILE`, by the Hub's own client and its own cache.

Where the Hub is and who asks it is what every tool of Hugging Face goes by: HF_ENDPOINT, HF_TOKEN or the token that
`hf auth login` has kept, HF_HUB_OFFLINE, HF_HOME, the proxies of the environment. The Hub is set up by whoever runs
this, not by a file that names data, so it may lie inside the network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from workspace.errors import Denied, Invalid, NotFound, Unavailable, did_you_mean

if TYPE_CHECKING:
    from workspace.settings import Settings

PREFIX = "hf://datasets/"
LIKE = f"{PREFIX}OWNER/NAME@REVISION/test.jsonl"
_NAMED = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/@]+|refs/(?:pr|convert)/[^/@]+))?/(?P<file>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """Where the Hub is, who asks it, and whether it may be asked; `cache` is None where its own place is right."""

    endpoint: str
    token: str = field(default="", repr=False)
    offline: bool = False
    cache: Path | None = None

    @classmethod
    def of_person(cls) -> Hub:
        """Read what huggingface_hub reads."""
        from huggingface_hub import constants, get_token

        return cls(endpoint=constants.ENDPOINT, token=get_token() or "", offline=constants.HF_HUB_OFFLINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file of a dataset; without a revision it is the newest."""

    name: str
    file: str
    revision: str | None = None


def read(url: str) -> HubFile:
    """Read an address: `read("hf://datasets/openai/gsm8k@main/main/test.jsonl")`. Invalid for what names no file."""
    found = _NAMED.fullmatch(url.removeprefix(PREFIX))
    if not url.startswith(PREFIX) or found is None or ".." in found["file"].split("/"):
        raise Invalid(f"{url!r} names no file of a dataset", hint=LIKE)
    return HubFile(name=found["name"], file=found["file"], revision=found["revision"])


def fetch(settings: Settings, url: str, *, hub: Hub | None = None) -> Path:
    """Return a file of a dataset, fetched where it is newer than what is in the Hub's cache; it is only for reading.

    The folder's name above it is the commit, whatever revision was asked for. Offline it is what the cache has.
    """
    from huggingface_hub import errors as theirs
    from huggingface_hub import hf_hub_download

    wanted, hub = read(url), hub or Hub.of_person()
    offline = hub.offline or bool(settings.offline)
    try:
        return Path(
            hf_hub_download(
                wanted.name, wanted.file, repo_type="dataset", revision=wanted.revision, endpoint=hub.endpoint,
                token=hub.token or False, local_files_only=offline, cache_dir=hub.cache,
            )
        )  # fmt: skip
    except theirs.GatedRepoError:
        hint = "accept its terms on the Hub, and set HF_TOKEN to a token that may read it"
        raise Denied(f"{url} is gated", hint=hint) from None
    except theirs.RevisionNotFoundError:
        raise NotFound(
            f"{wanted.name} has no revision {wanted.revision!r}", hint="a branch, a tag or a commit"
        ) from None
    except theirs.RepositoryNotFoundError:
        hint = "check the name; a private one needs HF_TOKEN" if not hub.token else "check the name and the token"
        raise NotFound(f"{hub.endpoint} has no dataset {wanted.name!r}", hint=hint) from None
    except theirs.LocalEntryNotFoundError as error:
        if offline:
            variable = "HF_HUB_OFFLINE" if hub.offline else "STUDIOLO_OFFLINE"
            hint = f"unset {variable} once, or say in data_map.yml where it is on this machine"
            raise Unavailable(f"{url} is not in the Hub's cache, and nothing is fetched offline", hint=hint) from None
        raise _unreachable(hub, error) from None
    except theirs.EntryNotFoundError:
        raise NotFound(f"{wanted.name} has no file {wanted.file!r}", hint=_like(hub, wanted)) from None
    except theirs.HfHubHTTPError as error:
        if error.response is not None and error.response.status_code in (401, 403):
            raise Denied(f"{url} is not open to us", hint="set HF_TOKEN to a token that may read it") from None
        raise _unreachable(hub, error) from None


def _like(hub: Hub, wanted: HubFile) -> str:
    """Return which of the dataset's files may have been meant."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(endpoint=hub.endpoint, token=hub.token or False)
    try:
        names = api.list_repo_files(wanted.name, repo_type="dataset", revision=wanted.revision)
    except (HfHubHTTPError, OSError):
        return "check the path"
    return did_you_mean(wanted.file, [each for each in names if each != ".gitattributes"]) or "check the path"


def _unreachable(hub: Hub, error: Exception) -> Unavailable:
    first = str(error.__cause__ or error).strip().splitlines()[0][:200]
    return Unavailable(
        f"the Hub at {hub.endpoint} cannot be reached: {first}", hint="check HF_ENDPOINT and the network"
    )
