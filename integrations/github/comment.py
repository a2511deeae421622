#!/usr/bin/env python3
"""Writes the report into the pull request: one comment, found by its hidden marker and replaced.

Wanted: GH_TOKEN, GITHUB_REPOSITORY, PULL_REQUEST and REPORTS; GITHUB_API_URL where it is not github.com. Pull requests
of forks have no right to it: that is said, and the step does not fail.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

MARKER = "<!-- studiolo-eval -->"
PAGE = 100


def main() -> int:
    """Write the comment."""
    report = Path(os.environ.get("REPORTS") or "eval-reports") / "report.md"
    if not report.is_file():
        sys.stdout.write("no report to comment\n")
        return 0
    body = {"body": report.read_text("utf-8")}
    issues = f"/repos/{os.environ['GITHUB_REPOSITORY']}/issues"
    comments = f"{issues}/{os.environ['PULL_REQUEST']}/comments"
    try:
        found = earlier(comments)
        if found is None:
            ask("POST", comments, body)
        else:
            ask("PATCH", f"{issues}/comments/{found}", body)
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403, 404):
            raise
        told = "this token may not write comments; the report is in the step summary"
        sys.stdout.write(f"::notice title=No comment::{told}\n")
    return 0


def earlier(comments: str) -> int | None:
    """Return the number of the comment that was written before."""
    page = 1
    while found := ask("GET", f"{comments}?per_page={PAGE}&page={page}"):
        for each in found:
            if str(each["body"]).startswith(MARKER):
                return int(each["id"])
        page += 1
    return None


def ask(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask GitHub."""
    request = urllib.request.Request(  # noqa: S310 - the address is the runner's own
        (os.environ.get("GITHUB_API_URL") or "https://api.github.com") + path,
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={"Authorization": f"Bearer {os.environ['GH_TOKEN']}", "Accept": "application/vnd.github+json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main())
