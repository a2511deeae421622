"""Which Ray cluster a job means: `compute: ray`, an address, or a compute of the workspace that names one."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jobs.needs import Needs
from jobs.ray.cluster import running
from jobs.ray.computes import NEAR, is_address
from jobs.spec import Spec
from workspace.errors import Invalid, NotFound
from workspace.settings import Settings

DASHBOARD = 8265  # where a Ray head answers if nothing else is said
FOLLOWING = Needs(cpus=0, memory=64 * 2**20)  # what a job on a cluster takes here: its shim and who follows it
LATER = 15.0  # seconds that who follows a job has, more than the job itself, to end
_CLIENT = 10001
_HINT = "write `compute: ray`, http://HOST:8265 or ray://HOST:10001"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A Ray cluster: where its head answers, whether it sees the files of this machine, where its token lies."""

    url: str
    shared: bool
    token: str = ""  # a file; the token itself is kept nowhere else


def place_of(settings: Settings, address: str) -> Place:
    """Return the cluster at an address; `ray` is the one that is near."""
    return _near(settings) if address == NEAR else of_address(settings, address)


def of_address(settings: Settings, address: str) -> Place:
    """Read an address: `http://head:8265`, `ray://head:10001`, with `?files=shared|upload` where we guess wrong."""
    parts = urlsplit(address)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Invalid(f"{address!r} is no address of a Ray cluster", hint=_HINT) from None
    if not host or parts.username:
        raise Invalid(f"{address!r} is no address of a Ray cluster", hint=_HINT)
    if parts.scheme == "ray":
        # Ray's client has a port of its own; its jobs are asked for where the dashboard is.
        port = DASHBOARD if port in (None, _CLIENT) else port
    written = parse_qs(parts.query).get("files", [""])[0]
    if written not in ("", "shared", "upload"):
        raise Invalid(f"files={written} in {address!r} must be shared or upload")
    scheme = "http" if parts.scheme == "ray" else parts.scheme
    shown = f"[{host}]" if ":" in host else host
    url = f"{scheme}://{shown}:{port or DASHBOARD}"
    own = running(settings.home)
    if own is not None and own.url == url:
        return Place(url=url, shared=written != "upload", token=own.token)
    return Place(url=url, shared=written == "shared" or (not written and _is_here(host)), token=_token(settings))


def on_ray(
    settings: Settings, spec: Spec, address: str, needs: Needs, *, each: Mapping[str, float] | None, child: bool
) -> tuple[Spec, Needs]:
    """Have a job run on the cluster at an address: what it needs is asked of that, and little of this machine.

    The children of a parent are Ray tasks of one driver, other jobs are Ray jobs. `each` is what one process of many
    needs, which may be on several machines where they all see our files.
    """
    place = place_of(settings, address)
    asked: dict[str, Any] = {
        "cpus": needs.cpus,
        "gpus": needs.gpus,
        "memory": needs.memory,
        "later": LATER,
        "together": child,
    }
    asked["each"] = dict(each) if each and place.shared else None
    return replace(spec, ray=asdict(place) | asked), FOLLOWING


def _near(settings: Settings) -> Place:
    if settings.ray_address:
        address = settings.ray_address
        return of_address(settings, address if is_address(address) else f"http://{address}")
    own = running(settings.home)
    if own is None:
        hint = "`studiolo cluster up` starts a small one here; RAY_API_SERVER_ADDRESS names another"
        raise NotFound("there is no Ray cluster", hint=hint)
    return Place(url=own.url, shared=True, token=own.token)


def _token(settings: Settings) -> str:
    return settings.ray_token_file or str(Path.home() / ".ray" / "auth_token")


def _is_here(host: str) -> bool:
    """Whether a host is this machine: only then its Ray sees our files, as far as we know."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == socket.gethostname()
    if address.is_loopback:
        return True
    with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6) as probe:
        try:
            probe.bind((host, 0))  # only an address of this machine can be bound to
        except OSError:
            return False
    return True
