"""uv, which makes virtual environments: where it is, running it line by line, and what its refusals mean."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from jobs.environments import steps
from jobs.environments.events import Preparing
from jobs.environments.steps import Ended, Step
from workspace.errors import MissingExtra, StudioloError, Unavailable

TOLD = 400  # characters of a refusal that a person is shown
# pip's own settings serve uv too, where uv has none.
_AS_PIP = {
    "UV_FIND_LINKS": "PIP_FIND_LINKS", "UV_DEFAULT_INDEX": "PIP_INDEX_URL", "UV_INDEX": "PIP_EXTRA_INDEX_URL",
    "UV_HTTP_TIMEOUT": "PIP_DEFAULT_TIMEOUT", "SSL_CERT_FILE": "PIP_CERT",
}  # fmt: skip
_REACH = re.compile(r"error sending request|dns error|failed to fetch|failed to download|connection|timed? ?out", re.I)
_FULL = re.compile(r"no space left on device|disk quota", re.I)
_NOWHERE = re.compile(r"there (?:is|are) no versions? of|was not found in the (?:package registry|provided)")
_ELSEWHERE = re.compile(r"usable wheels|matching Python|Python version|does not satisfy Python|ailed to build")


class CannotBe(Exception):
    """Packages that cannot stand together on this Python. `nowhere`: on no other either."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.nowhere = bool(_NOWHERE.search(reason)) and not _ELSEWHERE.search(reason)


def program(environ: Mapping[str, str]) -> str:
    """Return uv: the one beside this Python, else the one on the PATH."""
    beside = Path(sys.executable).with_name("uv")
    if found := str(beside) if beside.exists() else shutil.which("uv", path=environ.get("PATH", "")):
        return found
    raise MissingExtra("an environment of its own", hint="pip install uv")


def run(arguments: Sequence[str], *, environ: Mapping[str, str], folder: Path) -> Generator[Step, None, None]:
    """Run uv in `folder` and tell what it says; raise CannotBe where packages do not fit, else an error of ours."""
    running = steps.run([program(environ), *arguments], environ=_variables(environ), folder=folder)
    ended = yield from _told(running)
    if ended.code:
        raise refusal(ended.said)


def refusal(said: str) -> CannotBe | StudioloError:
    """Return what a refusal of uv means: packages that do not fit, a full disk, an index that does not answer."""
    reason = _reason(said)
    if "No solution found" in said or "ailed to build" in said or "not a supported wheel" in said:
        return CannotBe(reason)
    if _FULL.search(said):
        return Unavailable("no room left for the environment", hint="free some space and try again")
    if _REACH.search(said):
        return Unavailable(f"packages cannot be fetched: {reason}", hint="is the package index reachable?")
    return Unavailable(f"the environment could not be made: {reason}", hint="look at what uv says about it")


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    known = {name: value for name, value in environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")}
    for name, of_pip in _AS_PIP.items():
        if name not in known and of_pip in known:
            known[name] = known[of_pip]
    return known | {"NO_COLOR": "1", "UV_NO_PROGRESS": "1"}


def _told(running: Generator[Step, None, Ended]) -> Generator[Step, None, Ended]:
    """What uv says, but for its refusals: those become errors."""
    refused = False
    try:
        while True:
            step = next(running)
            text = step.text if isinstance(step, Preparing) else ""
            refused = refused or text.startswith("error:")
            if not (refused or text.startswith("Using Python")):
                yield step
    except StopIteration as end:
        ended: Ended = end.value
        return ended
    finally:
        running.close()


def _reason(said: str) -> str:
    """The cause as uv gives it, in one line, without what a build has printed."""
    told: list[str] = []
    for line in said.splitlines():
        stripped = line.strip()
        if stripped.startswith(("error: ", "cause: ")):
            told.append(stripped.partition(": ")[2])
        elif told and (not stripped or stripped.startswith(("[std", "hint:"))):
            break
        elif told:
            told[-1] += f" {stripped}"
    words = ": ".join(told[1:2] if len(told) > 1 and told[0].startswith("No solution") else told) or said.strip()
    words = words.replace(", we can conclude that your requirements are unsatisfiable.", "").rstrip(".")
    return f"{words[:TOLD]}…" if len(words) > TOLD else words
