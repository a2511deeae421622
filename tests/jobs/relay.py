"""A parent for tests: each line of its command is a child, two at the same time; it fails where one of them fails."""

from __future__ import annotations

import sys
from dataclasses import replace

from jobs.files.command import CommandJob
from jobs.parents import Family, lead
from workspace.errors import Invalid


def work(family: Family) -> None:
    """Run the lines; the last words of the log say what came of them."""
    job = family.read()
    assert isinstance(job, CommandJob)
    waiting = {f"line{number}": line for number, line in enumerate(job.command.splitlines()) if line}
    running: dict[str, str] = {}
    while waiting or running:
        while waiting and len(running) < 2:
            step, line = next(iter(waiting.items()))
            del waiting[step]
            running[family.child(step, replace(job, command=line, outputs={})).name] = step
        for ended in family.ended(running):
            step = running.pop(ended.name)
            sys.stdout.write(f"{step} {ended.status}\n")
            if ended.status != "Completed":
                raise Invalid(f"step {step!r} {ended.status.lower()}", hint=f"studiolo job show {ended.name}")
    for name in job.outputs:
        (family.output(name) / "done").write_text("all")


if __name__ == "__main__":
    sys.exit(lead(sys.argv[1], work))
