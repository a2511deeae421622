"""Write docs/job-files.md: which files are read, and which of their keys have no effect on this machine."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from jobs.schemas import SCHEMAS

PAGE = Path(__file__).parent / "job-files.md"
EXAMPLES = Path(__file__).parent.parent / "examples" / "jobs"
MARK = "Has no effect here: "
HEAD = """# Job files, and the files beside them

Files of Azure ML CLI v2 are read as they are. `jobs.files` has a door for each kind; a file is read into frozen
dataclasses, or refused with `file:line:column` and a hint. This page is written by `make docs`.

- **`--set a.b=c`** puts values into a file before it is read; lists count from 0: `--set inputs.rows.path=a.csv`.
- **Unknown keys** are refused with a did-you-mean, and only warned of where Azure ML takes them: in `settings`, in
  steps with a component, in components.
- **Words** are read in any case; numbers where text is meant are written out, and text where a number is meant is
  read.
- **Azure ML refuses it, we do not**: a warning says so. `strict=True` refuses it too.
- **What Azure ML takes and cannot be right** is refused: names nobody declared, steps that wait for each other,
  searches that cannot be done, ports that do not fit, data that is not there.

## Schemas for editors

In `docs/schemas/` and in the wheel, one a kind. Put this on a file's first line:
`# yaml-language-server: $schema=schemas/job.command.schema.json`, with the place where you keep them.

## Examples

Each folder of `examples/jobs` runs as it is, and is read by Azure ML's package as well.

{examples}

## Keys without an effect here

They are read, kept, and each that a file uses is told in one line by `studiolo job create`. Where a file is called
`command`, `pipeline` and so on, a job of that type is meant.

| key | files | why it has none |
|---|---|---|
"""


def without_effect() -> dict[tuple[str, str], set[str]]:
    """Return each key without an effect and why it has none, with the schemas of the files that have it."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name in SCHEMAS.made_by:
        for definition in SCHEMAS.schema(name)["$defs"].values():
            for key, value in definition.get("properties", {}).items():
                about = value.get("description", "")
                if MARK in about:
                    found[key, about.split(MARK)[1].rstrip(".")].add(name)
    return found


def page() -> str:
    """Return the page as its file says it."""
    rows = sorted((why, key, _files(names)) for (key, why), names in without_effect().items())
    return HEAD.replace("{examples}", _examples()) + "".join(
        f"| `{key}` | {files} | {why} |\n" for why, key, files in rows
    )


def _examples() -> str:
    """Return the examples, each by the first line of its README."""
    readmes = sorted(EXAMPLES.glob("*/README.md"))
    told = {each.parent.name: each.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ") for each in readmes}
    return "\n".join(f"- [{name}](../examples/jobs/{name}): {title}" for name, title in told.items())


def _files(names: set[str]) -> str:
    """Return files by kind: all jobs are `job`, else they are named one by one."""
    known = set(SCHEMAS.made_by)
    for kind in ("job", "component"):
        all_of_it = {name for name in known if name.startswith(f"{kind}.")}
        if all_of_it <= names:
            names = (names - all_of_it) | {f"every {kind}"}
    return ", ".join(sorted(name.removeprefix("job.") for name in names))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
