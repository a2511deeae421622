"""Whether a job's `compute` means a Ray cluster. Asked of every job that names a compute: light."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workspace.light_database import from_json

if TYPE_CHECKING:
    from workspace.home import Workspace

NEAR = "ray"  # the cluster that is near: `studiolo cluster up`, or RAY_API_SERVER_ADDRESS
_HERE = ("", "local", "serverless")


def is_address(compute: str) -> bool:
    """Whether a compute is written as an address."""
    return compute.startswith(("http://", "https://", "ray://"))


def address_of(workspace: Workspace, compute: str | None) -> str | None:
    """Return the address of the cluster that a job's `compute` means, "ray" for the one that is near; None: no Ray.

    A compute of the workspace is a Ray cluster where its `resource_id` is an address: `ray://head:10001`.
    """
    written = (compute or "").strip()
    if is_address(written):
        return written
    name = written.rpartition("/")[2].removeprefix("azureml:").partition(":")[0]
    if name.lower() in _HERE:
        return None
    rows = workspace.light.rows("SELECT spec FROM resources WHERE kind = 'compute' AND name = :name", name=name)
    target = str((from_json(rows[0]["spec"]) or {}).get("resource_id") or "") if rows else ""
    if is_address(target):
        return target
    return NEAR if name.lower() == NEAR else None
