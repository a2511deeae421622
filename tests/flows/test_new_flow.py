"""New flows: every starter runs as it is, and a function becomes a flow without being run."""

from __future__ import annotations

from pathlib import Path

import pytest

import flows
from flows import check, new_flow
from workspace.errors import Conflict, Invalid, NotFound

CODE = """\
raise_if_run = 1 / 1


def greet(name: str, times: int = 2, tags: list[str] | None = None, *, letter: str = "") -> str:
    return f"{letter.strip()} {name}" * times


async def later(name: str) -> str:
    return f"later {name}"


class Thing:
    def __call__(self, a: str) -> str:
        return a
"""

LETTER = "Dear Ada,\n\nyour flow runs. Change it, and run it again.\n\nthe flow"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "mine"
    made.mkdir()
    (made / "code.py").write_text(CODE)
    (made / "letter.jinja2").write_text("Dear {{title}}")
    return made


@pytest.mark.parametrize("starter", new_flow.STARTERS)
def test_nothing_is_wrong_with_a_starter(starter: str, tmp_path: Path) -> None:
    made = new_flow.copy(starter, tmp_path / "mine")
    assert check.problems(tmp_path / "mine") == []
    assert "data.jsonl" in {path.name for path in made}


@pytest.mark.parametrize(
    ("starter", "inputs", "outputs"),
    [
        ("standard", {"name": "Ada"}, {"letter": LETTER}),
        ("evaluation", {"expected": "Paris", "answer": "It is paris."}, {"grade": "right"}),
        ("flex", {"question": "a bc"}, {"words": ["a", "bc"], "count": 2}),
    ],
)  # fmt: skip
def test_a_starter_runs_as_it_is(
    starter: str, inputs: dict[str, str], outputs: dict[str, object], tmp_path: Path
) -> None:
    new_flow.copy(starter, tmp_path / "mine")
    assert flows.test(flows.load(tmp_path / "mine"), inputs, connections={}).outputs == outputs


def test_a_folder_with_a_flow_is_left_alone(tmp_path: Path) -> None:
    new_flow.copy("standard", tmp_path)
    with pytest.raises(Conflict, match="exists already"):
        new_flow.copy("flex", tmp_path)
    assert not (tmp_path / "flow.flex.yaml").exists()


def test_no_file_of_a_folder_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "sign.py").write_text("mine")
    with pytest.raises(Conflict, match=r"sign\.py"):
        new_flow.copy("standard", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["sign.py"]


def test_a_function_and_its_prompt_become_a_flow_that_runs(folder: Path) -> None:
    new_flow.around(folder, Path("code.py"), "greet", {"letter": Path("letter.jinja2")})
    assert check.problems(folder) == []
    flow = flows.load(folder)
    assert {name: each.type for name, each in flow.inputs.items()} == {
        "title": "string", "name": "string", "times": "int",
    }  # fmt: skip
    result = flows.test(flow, {"title": "Dr", "name": "Ada"}, connections={})
    assert result.outputs == {"output": "Dear Dr AdaDear Dr Ada"}


def test_an_async_function_becomes_an_async_tool(folder: Path) -> None:
    new_flow.around(folder, folder / "code.py", "later", {})
    assert flows.test(flows.load(folder), {"name": "Ada"}, connections={}).outputs == {"output": "later Ada"}


def test_what_cannot_become_a_flow_is_refused_and_nothing_is_written(folder: Path) -> None:
    before = sorted(folder.iterdir())
    with pytest.raises(Invalid, match="has no 'gret'"):
        new_flow.around(folder, Path("code.py"), "gret", {})
    with pytest.raises(Invalid, match="defines no function"):
        new_flow.around(folder, Path("code.py"), "Thing", {})
    with pytest.raises(Invalid, match="no parameter 'prompt'"):
        new_flow.around(folder, Path("code.py"), "greet", {"prompt": Path("letter.jinja2")})
    with pytest.raises(NotFound, match="no file"):
        new_flow.around(folder, Path("absent.py"), "greet", {})
    assert sorted(folder.iterdir()) == before


def test_code_outside_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text(CODE)
    with pytest.raises(Invalid, match="outside"):
        new_flow.around(folder, outside, "greet", {})
