"""The code scorer: the program that an answer is, run with its unit tests where it can do no harm."""

from __future__ import annotations

import re
from typing import Any

from evals.samples import Sample, Score
from evals.sandbox import Limits, run
from evals.sandbox.run import MB
from evals.scorers.registry import Scorer, scorer_maker
from workspace.errors import Unavailable

_FENCE = re.compile(r"```[ \t]*(?:python|py|python3)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)


@scorer_maker("code", needs=("Linux",))
def code(
    *, tests: str | None = None, seconds: float = 10.0, memory_mb: int = 512, disk_mb: int = 64, network: bool = False
) -> Scorer:
    """1.0 when the Python that the answer is passes its unit tests, run without network, in bounded time and memory.

    The tests are the setting `tests`, the row's `tests` (or MBPP's `test_list`), or its `test` with an `entry_point` as
    in HumanEval; asserts, functions called `test_…` and unittest's cases are all tests.
    """
    disk = disk_mb * MB
    limits = Limits(seconds=seconds, cpu=max(1, round(seconds)), memory=memory_mb * MB, disk=disk, file_size=disk)

    def score(sample: Sample) -> Score:
        if sample.answer is None:
            return Score(error="no answer")
        if (program := program_of(sample, tests)) is None:
            return Score(error="no tests: the row has none of `tests`, `test_list`, `test` with `entry_point`")
        try:
            ran = run(program, limits=limits, network=network)
        except Unavailable as error:
            return Score(error=error.message)
        details = {"held": dict(ran.held), "seconds": round(ran.seconds, 3), "output": ran.output[-2000:]}
        return Score(value=float(ran.passed), details=details | ({} if ran.passed else {"mistake": ran.mistake}))

    return score


def program_of(sample: Sample, tests: str | None = None) -> str | None:
    """Return the answer's code with its tests, as one program; None where there are no tests."""
    row = {**sample.inputs, **sample.metadata}
    written = code_in(sample.answer or "")
    if tests is not None:
        return f"{written}\n\n{tests}\n"
    if "entry_point" in row and "test" in row:
        return _human_eval(row, written)
    given = row.get("tests", row.get("test_list"))
    if given is None:
        return None
    setup = str(row.get("test_setup_code") or "")
    asserts = "\n".join(map(str, given)) if isinstance(given, list | tuple) else str(given)
    return f"{setup}\n{written}\n\n{asserts}\n"


def code_in(answer: str) -> str:
    """Return the code of an answer: what its fences hold, else all of it, as it was indented.

    >>> code_in("Here:\\n```python\\nx = 1\\n```\\nDone.")
    'x = 1\\n'
    """
    fenced = _FENCE.findall(answer)
    return "\n".join(fenced) if fenced else answer.strip("\r\n")


def _human_eval(row: dict[str, Any], written: str) -> str:
    """A completion goes on where the prompt ends; an answer with the whole function needs only the prompt's imports."""
    name, prompt = str(row["entry_point"]), str(row.get("prompt") or "")
    whole = re.search(rf"^(?:async\s+)?def\s+{re.escape(name)}\b", written, re.MULTILINE)
    before = prompt[: prompt.rfind(f"def {name}")] if whole else prompt
    return f"{before}{'' if not whole else chr(10)}{written}\n\n{row['test']}\n\ncheck({name})\n"
