"""How the Hub says no: a status, a code that its clients know, and words."""

from __future__ import annotations


class HubError(Exception):
    """An answer that is no: `code` goes into X-Error-Code, the message into the body and X-Error-Message."""

    def __init__(self, status: int, message: str, *, code: str = "", commit: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.commit = commit


def missing(reader: str) -> HubError:
    """Return what is said of a repository that is not there, or is somebody else's.

    The real Hub sends no code to those without a token, and its client takes a bare 401 for "not there" over https
    alone: here, where most speak http, the code is sent to all.
    """
    if reader:
        return HubError(404, "", code="RepoNotFound")
    return HubError(401, "Invalid username or password.", code="RepoNotFound")
