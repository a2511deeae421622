"""Who may read the models that `studiolo catalog serve` tells others of: whoever has a token of the workspace."""

from __future__ import annotations

from catalog.hub_server.app import Doors
from workspace.errors import Denied
from workspace.home import Workspace

_HERE = ("127.0.0.1", "localhost", "[::1]")


def doors(workspace: Workspace, *, is_open: bool) -> Doors:
    """Return the doors of a workspace; open ones are for this machine's own names, or any page could lead here."""

    def who(token: str) -> str | None:
        try:
            return workspace.tokens.check_whole(token).name
        except Denied:
            return None

    return Doors(who=who, is_open=is_open, hosts=_HERE if is_open else ())
