"""What can be read and cannot be right: names nobody declared, circles, impossible searches, ports that do not fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from jobs.files.command import CommandJob
from jobs.files.expressions import used
from jobs.files.reading import Finding, Origin
from workspace.documents import Step
from workspace.errors import did_you_mean


def problems(job: object) -> Iterator[Finding]:
    """Yield what cannot be right in something that was read."""
    if isinstance(job, CommandJob):
        yield from _command(job)


def undeclared(
    origin: Origin, steps: tuple[Step, ...], text: str, declared: Mapping[str, Iterable[str]]
) -> Iterator[Finding]:
    """Yield the expressions of a text that name nothing: `declared` has the names by what stands before them."""
    known = {f"{before}.{name}" for before, names in declared.items() for name in names}
    for name in used(text):
        if name.partition(".")[0] in declared and name not in known:
            hint = did_you_mean(name, known) or "declare it under `inputs` or `outputs`"
            what = f"`{'.'.join(map(str, steps))}` uses ${{{{{name}}}}}, which is not declared"
            yield Finding("undeclared", "refusal", what, origin.at(*steps), hint)


def _command(job: CommandJob) -> Iterator[Finding]:
    declared = {"inputs": job.inputs, "outputs": job.outputs}
    yield from undeclared(job.origin, ("command",), job.command, declared)
