"""What the engine of a deployment says, all its replicas after one another."""

from __future__ import annotations

from collections.abc import Iterator

from serving import engine_logs, replicas
from serving.endpoints import Deployment
from workspace.errors import Invalid
from workspace.home import Workspace

MOST = 64  # replicas


def read(workspace: Workspace, deployment: Deployment, *, lines: int = 50, follow: bool = False) -> Iterator[str]:
    """Yield the last lines of each replica; with `follow` those of the first, and what it says from now on."""
    if deployment.engine == "openai":
        raise Invalid(f"{deployment.path} is a server of somebody else's: its log is not here")
    names = [replicas.key_of(deployment, index) for index in range(MOST)]
    said = [name for name in names if (workspace.home / "logs" / f"engine-{name}.log").is_file()]
    for name in said[:1] if follow else said:
        yield from engine_logs.read(workspace.home, name, lines=lines, follow=follow)
