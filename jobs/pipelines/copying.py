"""Steps that copy data: several inputs become one output, by a command like any other."""

from __future__ import annotations

from collections.abc import Iterable

FAIL = "fail_if_conflict"
_WORDS = """\
set -e
list() { if [ -d "$1" ]; then (cd "$1" && find . -type f); else echo "./$(basename "$1")"; fi; }
copy() { if [ -d "$1" ]; then cp -RL --no-preserve=mode "$1"/. "$2"; else cp -L --no-preserve=mode "$1" "$2"; fi; }
"""
_REFUSE = """\
twice=$({{ {lists}; }} | sort | uniq -d)
if [ -n "$twice" ]; then echo "these are in several inputs:"; echo "$twice"; exit 1; fi
"""


def command_of(inputs: Iterable[str], outputs: Iterable[str], mode: str | None) -> str:
    """Return the command that copies all inputs into each output; what comes later writes over what came before.

    With mode `fail_if_conflict` nothing is copied where two inputs have a file of the same name.
    """
    sources = [f'"${{{{inputs.{name}}}}}"' for name in inputs]
    text = _WORDS
    if mode == FAIL:
        text += _REFUSE.format(lists="; ".join(f"list {source}" for source in sources))
    return text + "\n".join(f'copy {source} "${{{{outputs.{name}}}}}"' for name in outputs for source in sources)
