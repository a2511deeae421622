from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import studiolo as door
from evals import scorers
from evals.samples import LOG, Sample, Score, as_line
from studiolo.commands.eval import app
from workspace import Workspace
from workspace.documents import parse_yaml
from workspace.errors import Invalid

Studiolo = Callable[..., Result]


@pytest.fixture
def studiolo(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Studiolo:
    monkeypatch.setenv("STUDIOLO_HOME", str(workspace.home))
    return lambda *words: CliRunner().invoke(app, words)


def test_every_scorer_is_listed_with_its_settings_and_needs(studiolo: Studiolo) -> None:
    told = studiolo("scorers").stdout
    assert all(f"{name} " in told for name in scorers.names())
    assert "settings: tests=None, seconds=10.0" in told
    listed = {each["name"]: each for each in json.loads(studiolo("scorers", "--json").stdout)}
    assert listed["latency"]["required"] == ["within"]
    assert listed["judge"]["needs"] == ["a chat model"]
    ours = [each.name for each in scorers.entries() if each.function.__module__.startswith("evals.")]
    assert len(ours) > 30
    assert all(listed[name]["promise"] for name in ours)  # other tests may have made some without words


def test_a_scorer_is_made_from_one_function_by_the_door() -> None:
    @door.scorer("test_short")
    def short(answer: str, expected: str, *, words: int = 2) -> float:
        return float(len(answer.split()) <= words)

    assert short("a b c", "", words=3) == 1.0
    sample = Sample(number=0, row="", inputs={}, answer="a b c", expected="")
    assert scorers.get("test_short")(sample).value == 0.0
    assert scorers.get("test_short", words=3)(sample).value == 1.0


def judged(workspace: Workspace, name: str, right: int) -> None:
    """A run of 40 rows whose judge says what people say of the first `right` ones, and the contrary of the others."""
    with workspace.run("eval", name=name) as run, (run.directory / LOG).open("w") as log:
        for n in range(40):
            value = float((n % 2 == 0) == (n < right))
            score = Score(value=value, details={"rubric": "r1", "model": f"model:{name}:1"})
            log.write(
                as_line(Sample(number=n, row=str(n), name=f"q{n}", inputs={}, answer="a" * n, scores={"judge": score}))
            )


@pytest.fixture
def labels(tmp_path: Path) -> str:
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps({"id": f"q{n}", "label": n % 2 == 0}) + "\n" for n in range(40)))
    return str(path)


def test_a_judge_that_agrees_with_people_may_gate_and_one_that_does_not_exits_with_3(
    studiolo: Studiolo, workspace: Workspace, labels: str
) -> None:
    judged(workspace, "good", 38)
    judged(workspace, "coin", 20)
    good = studiolo("calibrate", labels, "--run", "good")
    assert good.exit_code == 0, good.output
    assert "kappa 0.900" in good.stdout
    assert "may gate" in good.stdout
    coin = studiolo("calibrate", labels, "--run", "coin", "--json")
    assert coin.exit_code == 3
    assert json.loads(coin.stdout)["passed"] is False


def test_a_judge_is_asked_only_with_a_rubric_and_by_a_name_that_can_be_asked(
    studiolo: Studiolo, tmp_path: Path
) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps({"answer": "a", "label": n % 2}) + "\n" for n in range(40)))
    assert "rubric" in str(studiolo("calibrate", str(path)).exception)
    assert isinstance(studiolo("calibrate", str(path), "--judge", "exact", "--rubric", "x").exception, Invalid)


def test_contamination_names_both_rows_and_exits_with_3(
    studiolo: Studiolo, workspace: Workspace, tmp_path: Path
) -> None:
    question = {"question": "How many moons does the planet Mars have today?"}
    tested, train = tmp_path / "tested.jsonl", tmp_path / "train.jsonl"
    tested.write_text(json.dumps({"question": "Another one entirely"}) + "\n" + json.dumps(question) + "\n")
    train.write_text(json.dumps({"text": "nothing of the kind at all"}) + "\n" + json.dumps(question) + "\n")
    assert studiolo("contamination", str(train)).stdout.startswith("no evaluation set")
    workspace.assets.put("evalset", "moons", tested)
    found = studiolo("contamination", str(train))
    assert found.exit_code == 3
    assert "exact (1.00): row 2 is row 2 of evalset:moons:1" in found.stdout
    assert json.loads(studiolo("contamination", str(train), "--json").stdout)["counts"]["exact"] == 1
    train.write_text(json.dumps({"text": "nothing of the kind at all"}) + "\n")
    clean = studiolo("contamination", str(train))
    assert (clean.exit_code, clean.stdout.startswith("clean")) == (0, True)


def test_the_scorers_of_the_guide_are_made_as_it_writes_them(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "evals.md").read_text("utf-8")
    section = guide.partition("## Scorers\n")[2].partition("\n## Judges")[0]
    (block,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    document = parse_yaml(block).root
    for each in document["scorers"]:
        settings = {} if isinstance(each, str) else {key: value for key, value in each.items() if key != "name"}
        assert callable(scorers.get(each if isinstance(each, str) else each["name"], **settings))
    named = set(re.findall(r"`([a-z_0-9]+)`", section.partition("| what |")[2].partition("\n\n")[0]))
    assert named <= set(scorers.names())
    ours = {each.name for each in scorers.entries() if each.function.__module__.startswith("evals.")}
    assert ours - {"promptfoo"} <= named  # that one is written by the importer of its files
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    exec(compile(code, "evals.md", "exec"), {})  # noqa: S102 - the guide's own words
    assert scorers.get("short", words=1)(Sample(number=0, row="", inputs={}, answer="a b", expected="")).value == 0.0
