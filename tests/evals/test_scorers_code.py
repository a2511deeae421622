from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from evals import scorers
from evals.samples import Sample, Score
from evals.scorers.code import code_in

# The form of HumanEval: a prompt that a completion goes on with, and a function that checks it.
ROW = {
    "prompt": 'from typing import List\n\n\ndef largest(numbers: List[int]) -> int:\n    """The largest number."""\n',
    "entry_point": "largest",
    "test": "def check(candidate):\n    assert candidate([1, 3, 2]) == 3\n    assert candidate([-1]) == -1\n",
}


def scored(answer: str, row: Mapping[str, Any], **settings: Any) -> Score:
    return scorers.get("code", **settings)(Sample(number=0, row="", inputs={}, answer=answer, metadata=row))


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("    return max(numbers)\n", 1.0),
        ("```python\ndef largest(numbers: List[int]) -> int:\n    return sorted(numbers)[-1]\n```", 1.0),
        ("    return numbers[0]\n", 0.0),
        ("I cannot do that.", 0.0),
    ],
)
def test_a_completion_and_a_whole_function_are_run_with_the_tests_of_human_eval(answer: str, value: float) -> None:
    score = scored(answer, ROW)
    assert score.value == value, score.details
    assert score.details["held"]["network"] is True


def test_the_asserts_of_mbpp_and_those_of_the_task_are_tests() -> None:
    assert scored("def f(x): return x + 1", {"test_list": ["assert f(1) == 2", "assert f(2) == 3"]}).value == 1.0
    assert scored("def f(x): return x", {}, tests="def test_f():\n    assert f(1) == 2").value == 0.0


def test_a_row_without_tests_is_an_error_and_no_wrong_answer() -> None:
    assert scored("x = 1", {}).value is None


def test_code_is_read_from_fences_else_as_it_stands() -> None:
    assert code_in("Sure!\n```py\na = 1\n```\nand\n```\nb = 2\n```") == "a = 1\n\nb = 2\n"
    assert code_in("\n    return 1\n") == "    return 1"
    assert code_in("```python\nx = 1") == "x = 1"
