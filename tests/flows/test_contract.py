"""What prompt flow's files mean, where no other test says it; docs/promptflow-contract.md has all statements."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flows
from flows import graph
from flows.connections import Connection
from studiolo import flow_tests
from workspace import Workspace
from workspace.errors import Invalid, NotFound

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "promptflow-contract.md"
TOOL = "from promptflow.core import log_metric, tool\n\n\n@tool\n"
ONE = """\
inputs: {x: {type: string, default: a}}
outputs: {y: {type: string, reference: "${say.output}"}}
nodes:
- {name: say, type: python, source: {type: code, path: say.py}, inputs: {x: "${inputs.x}"}}
"""

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a flow folder: `make(yaml, say="def say(x): return x")`."""

    def write(text: str, name: str = "flow.dag.yaml", folder: str = "flow", **tools: str) -> Path:
        made = tmp_path / folder
        made.mkdir(exist_ok=True)
        (made / name).write_text(text)
        for tool, code in tools.items():
            (made / f"{tool}.py").write_text(TOOL + code + "\n")
        return made

    return write


def once(folder: Path, connections: dict[str, Connection] | None = None, **inputs: Any) -> flows.FlowResult:
    return flows.test(flows.load(folder), inputs, connections=connections or {})


def rows(folder: Path, values: list[Any], name: str = "x") -> Path:
    path = folder.parent / "rows.jsonl"
    path.write_text("".join(json.dumps({name: value}) + "\n" for value in values))
    return path


def over(workspace: Workspace, folder: Path, data: Path, **options: Any) -> flows.Finished:
    options.setdefault("column_mapping", {"x": "${data.x}"})
    *_, done = flows.run(workspace, flows.load(folder), flows.Batch(data=data, **options))
    assert isinstance(done, flows.Finished)
    return done


# The document


def test_every_statement_of_the_document_names_tests_that_exist() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", text))
    assert len(named) > 100
    missing = [
        f"{path}::{name}" for path, name in sorted(named) if f"def {name}(" not in (ROOT / path).read_text("utf-8")
    ]
    assert missing == []
    statements = [line for line in text.splitlines() if re.match(r"\| [AB]\.?\d", line)]
    assert [line for line in statements if "::test_" not in line] == []


# A.1 The file


def test_a_folder_holds_one_flow_and_no_two(make: Make) -> None:
    folder = make(ONE, say="def say(x): return x")
    assert graph.find_file(folder).name == "flow.dag.yaml"
    (folder / "flow.flex.yaml").write_text("entry: say:say\n")
    with pytest.raises(Invalid, match=r"flow\.dag\.yaml.*flow\.flex\.yaml|several"):
        graph.find_file(folder)


def test_a_file_with_an_entry_is_a_flex_flow_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("entry: code:answer\n")
    (tmp_path / "code.py").write_text("def answer(q: str) -> str:\n    return q * 2\n")
    assert flows.test(flows.load(tmp_path / "mine.yaml"), {"q": "ab"}, connections={}).outputs == {"output": "abab"}


def test_a_key_written_twice_is_an_error_with_its_line(make: Make) -> None:
    with pytest.raises(Invalid) as caught:
        flows.load(make(ONE + "inputs: {x: {type: int}}\n", say="def say(x): return x"))
    assert "flow.dag.yaml:5" in str(caught.value)


def test_a_flow_is_called_as_its_file_says_else_as_its_folder(make: Make) -> None:
    assert flows.load(make(ONE, say="def say(x): return x")).name == "flow"
    assert flows.load(make("name: mine\n" + ONE, say="def say(x): return x")).name == "mine"


def test_an_input_needs_a_type(make: Make) -> None:
    with pytest.raises(Invalid, match="type"):
        flows.load(make(ONE.replace("type: string, default", "default"), say="def say(x): return x"))


@pytest.mark.parametrize("kind", ["secret", "prompt_template", "file_path", "assistant_definition", "object"])
def test_rare_types_of_inputs_are_read(make: Make, kind: str) -> None:
    folder = make(ONE.replace("type: string, default: a", f"type: {kind}"), say="def say(x): return x")
    assert once(folder, x="v").outputs == {"y": "v"}


def test_the_type_of_an_output_is_not_enforced(make: Make) -> None:
    assert once(make(ONE, say="def say(x): return 7")).outputs == {"y": 7}


def test_nodes_may_stand_in_any_order_and_keep_the_form_of_messages(make: Make) -> None:
    text = (
        "message_format: openai-vision\ninputs: {x: {type: string, default: a}}\n"
        'outputs: {y: {type: string, reference: "${last.output}"}}\nnodes:\n'
        '- {name: last, type: python, source: {type: code, path: say.py}, inputs: {x: "${first.output}"}}\n'
        '- {name: first, type: python, source: {type: code, path: say.py}, inputs: {x: "${inputs.x}"}}\n'
    )
    folder = make(text, say="def say(x): return x + x")
    assert once(folder).outputs == {"y": "aaaa"}
    assert flows.load(folder).message_format == "openai-vision"


def test_old_and_silent_keys_change_nothing(make: Make) -> None:
    text = ONE.replace(
        "- {name: say,",
        "- {name: say, enable_cache: true, comment: hi, skip: {when: x, is: y, return: z}, module: m, provider: p,",
    )
    text = "$schema: https://x\nversion: 2\nid: a\nlanguage: python\ntags: {a: b}\n" + text
    text += "environment: {python_requirements_txt: requirements.txt, image: a, conda_file: b, setup_sh: c}\n"
    assert once(make(text, say="def say(x): return x")).outputs == {"y": "a"}


def test_reduce_is_the_old_word_for_aggregation(make: Make) -> None:
    node = '- {name: sum, type: python, reduce: true, source: {type: code, path: sum.py}, inputs: {a: "${say.output}"}}'
    text = f"{ONE}{node}\n"
    folder = make(text, say="def say(x): return x", sum="def sum(a): log_metric('count', len(a))")
    assert once(folder).metrics == {"count": 1}


def test_a_flow_has_its_inputs_also_under_the_old_name(make: Make) -> None:
    assert once(make(ONE.replace("${inputs.x}", "${flow.x}"), say="def say(x): return x")).outputs == {"y": "a"}


def test_a_reference_is_a_whole_text_and_an_output_may_be_an_input_or_a_literal(make: Make) -> None:
    text = ONE.replace('inputs: {x: "${inputs.x}"}', 'inputs: {x: "say ${inputs.x}"}')
    text = text.replace(
        'outputs: {y: {type: string, reference: "${say.output}"}}',
        'outputs: {y: {type: string, reference: "${say.output}"}, i: {type: string, reference: "${inputs.x}"}, '
        "l: {type: string, reference: words}}",
    )
    result = once(make(text, say="def say(x): return x"))
    assert result.outputs == {"y": "say ${inputs.x}", "i": "a", "l": "words"}


def test_an_output_that_is_only_for_evaluation_is_not_served(make: Make) -> None:
    from flows.serve import score as serve_score

    text = ONE.replace("outputs: {", 'outputs: {z: {type: string, reference: "${say.output}", evaluation_only: true}, ')
    flow = flows.load(make(text, say="def say(x): return x"))
    assert once(flow.folder).outputs == {"z": "a", "y": "a"}
    assert sorted(serve_score.shown_outputs(flow, "") or ()) == ["y"]


# Variables


def test_the_files_variables_go_over_the_systems_and_the_commands_over_the_files(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "environment_variables: {A_B: from file, A_C: {k: [1]}, A_D: 5}\n" + ONE
    code = "def say(x):\n    import os\n    return [os.environ.get(name) for name in ('A_B', 'A_C', 'A_D', 'A_E')]"
    folder = make(text, say=code)
    monkeypatch.setenv("A_B", "from system")
    monkeypatch.setenv("A_E", "from system")
    assert once(folder).outputs["y"] == ["from file", '{"k": [1]}', "5", "from system"]
    conditions = flows.Conditions(environment={"A_B": "from command"})
    result = flows.test(flows.load(folder), {}, connections={}, conditions=conditions)
    assert result.outputs["y"][0] == "from command"
    assert os.environ["A_B"] == "from system"


def test_a_variable_may_be_a_field_of_a_connection(
    make: Make, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import connection_store

    monkeypatch.setenv("STUDIOLO_HOME", str(workspace.home))
    mine = Connection(name="mine", type="custom", configs={"place": "here"}, secrets={"key": "sk-canary-2"})
    connection_store.create(workspace, mine)
    text = "environment_variables: {A_P: '${mine.place}', A_K: '${mine.key}'}\n" + ONE
    folder = make(text, say="def say(x):\n    import os\n    return [os.environ['A_P'], len(os.environ['A_K'])]")
    with flow_tests.prepared(folder) as ready:
        assert flow_tests.once(ready, {}).outputs == {"y": ["here", 11]}


# What is included


def test_what_is_included_lies_flat_beside_the_flows_own_files(make: Make, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "words.txt").write_text("shared words")
    (tmp_path / "helper.py").write_text("def help_with(x):\n    return open('shared/words.txt').read() + x\n")
    text = "additional_includes: [../shared, ../helper.py, ../shared.zip]\n" + ONE
    folder = make(
        text,
        say="def say(x):\n    import os, zipfile\n    from helper import help_with\n"
        "    return [help_with(x), zipfile.ZipFile('shared.zip').namelist(), sorted(os.listdir('.'))]",
    )
    said, zipped, here = once(folder).outputs["y"]
    assert said == "shared wordsa"
    assert "words.txt" in " ".join(zipped)
    assert {"flow.dag.yaml", "helper.py", "say.py", "shared", "shared.zip"} <= set(here)
    assert sorted(path.name for path in folder.iterdir() if path.name != "__pycache__") == ["flow.dag.yaml", "say.py"]


def test_what_is_not_there_or_outside_the_project_is_not_included(make: Make, tmp_path: Path) -> None:
    (tmp_path / "project" / "flow").mkdir(parents=True)
    (tmp_path / "outside.py").write_text("")
    for path, said in (("../absent.py", "nothing at"), ("../../outside.py", "leads out"), ("/etc/passwd", "leads out")):
        folder = make(f"additional_includes: [{path}]\n{ONE}", folder="project/flow", say="def say(x): return x")
        with pytest.raises(Invalid, match=said) as caught:
            flows.load(folder)
        assert "flow.dag.yaml:1" in str(caught.value)


def test_the_source_of_a_node_stays_in_the_flow(make: Make, tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text(TOOL + "def say(x): return x")
    for path in ("../outside.py", "/etc/hosts"):
        with pytest.raises(Invalid, match="leads out"):
            flows.load(make(ONE.replace("say.py", path)))


# Chat flows


def test_a_history_is_known_by_its_mark_or_its_name(make: Make) -> None:
    chat = (
        "inputs:\n  question: {type: string, is_chat_input: true}\n  chat_history: {type: list, default: []}\n"
        'outputs: {y: {type: string, reference: "${say.output}", is_chat_output: true}}\nnodes:\n'
        '- {name: say, type: python, source: {type: code, path: say.py}, inputs: {x: "${inputs.question}"}}\n'
    )
    flow = flows.load(make(chat, say="def say(x): return x"))
    assert (flow.chat_input, flow.chat_history, flow.chat_output) == ("question", "chat_history", "y")
    other = chat.replace("default: []}", "default: [], is_chat_history: false}").replace(
        "  chat_history", "  turns: {type: list, default: [], is_chat_history: true}\n  chat_history"
    )
    assert flows.load(make(other, say="def say(x): return x")).chat_history == "turns"


# B.3 to B.7 Bypassed, aggregated, defaulted


TWO = """\
inputs: {x: {type: int}, kind: {type: string, default: plain}}
outputs: {y: {type: int, reference: "${double.output}"}, odd: {type: int, reference: "${odd.output}"}}
nodes:
- {name: double, type: python, source: {type: code, path: double.py}, inputs: {x: "${inputs.x}"}}
- name: odd
  type: python
  source: {type: code, path: odd.py}
  inputs: {x: "${double.output}"}
  activate: {when: "${double.output}", is: 2}
- name: sum
  type: python
  aggregation: true
  source: {type: code, path: sum.py}
  inputs: {xs: "${inputs.x}", ys: "${double.output}", odds: "${odd.output}", kinds: "${inputs.kind}", literal: 3}
- name: after
  type: python
  aggregation: true
  source: {type: code, path: after.py}
  inputs: {total: "${sum.output}"}
"""
CODE = {
    "double": "def double(x: int):\n    if x == 3: raise ValueError('three')\n    return 2 * x",
    "odd": "def odd(x): return x + 1",
    "sum": "def sum(xs, ys, odds, kinds, literal):\n    assert all(2 * x == y for x, y in zip(xs, ys, strict=True))\n"
    "    log_metric('lines', len(xs))\n    log_metric('first', xs[0])\n    log_metric('bypassed', odds.count(None))\n"
    "    log_metric('kinds', kinds.count('plain'))\n    log_metric('literal', literal)\n    return len(xs)",
    "after": "def after(total: int): log_metric('after', total)",
}


def test_the_output_of_a_bypassed_node_is_null(make: Make) -> None:
    result = once(make(TWO, **CODE), x=5)
    assert result.outputs == {"y": 10, "odd": None}
    assert {node.name: node.status for node in result.nodes}["odd"] == "Bypassed"


def test_aggregation_sees_the_completed_lines_in_their_order(make: Make, workspace: Workspace) -> None:
    folder = make(TWO, **CODE)
    done = over(workspace, folder, rows(folder, [1, 2, 3, 4]))
    assert (done.completed, done.failed) == (3, 1)
    assert done.metrics == {"lines": 3, "first": 1, "bypassed": 2, "kinds": 3, "literal": 3, "after": 3}


def test_inputs_and_outputs_stay_aligned_over_a_resume(make: Make, workspace: Workspace, tmp_path: Path) -> None:
    flag = tmp_path / "flag"  # what changes between the runs is not the flow
    code = (
        "def double(x: int):\n    import os\n"
        f"    if x == 5 and not os.path.exists({str(flag)!r}): raise ValueError('the first time')\n    return 2 * x"
    )
    folder = make(TWO, **{**CODE, "double": code})
    data = rows(folder, [5, 3, 1, 4])
    assert over(workspace, folder, data, name="first").failed == 1
    flag.write_text("")
    done = over(workspace, folder, data, name="second", resume="first")
    assert (done.completed, done.failed, done.metrics["first"], done.metrics["lines"]) == (4, 0, 5, 4)


def test_an_aggregation_that_fails_leaves_the_lines_as_they_are(make: Make, workspace: Workspace) -> None:
    folder = make(TWO, **{**CODE, "sum": "def sum(**k): raise ValueError('no sum')"})
    done = over(workspace, folder, rows(folder, [1]), name="sums")
    assert (done.completed, done.failed) == (1, 0)
    assert "no sum" in done.problems[0]
    assert workspace.runs.get("sums").status == "FINISHED"


def test_a_run_whose_lines_all_failed_has_finished(make: Make, workspace: Workspace) -> None:
    folder = make(TWO, **CODE)
    done = over(workspace, folder, rows(folder, [3, 3]), name="none")
    assert (done.completed, done.failed, done.metrics) == (0, 2, {})
    assert workspace.runs.get("none").status == "FINISHED"


def test_a_default_takes_its_type_and_null_is_none(make: Make) -> None:
    text = ONE.replace("type: string, default: a", 'type: int, default: "3"')
    assert once(make(text, say="def say(x): return [x, type(x).__name__]")).outputs == {"y": [3, "int"]}
    without = ONE.replace("type: string, default: a", "type: int, default: null")
    with pytest.raises(Invalid, match="'x' is missing"):
        once(make(without, say="def say(x): return x"))
    with pytest.raises(Invalid, match="None is no int"):
        once(make(text, say="def say(x): return x"), x=None)


def test_a_flow_without_inputs_does_not_run_over_rows(make: Make, workspace: Workspace) -> None:
    text = ONE.replace("inputs: {x: {type: string, default: a}}\n", "").replace('"${inputs.x}"', "literal")
    folder = make(text, say="def say(x): return x")
    assert once(folder).outputs == {"y": "literal"}
    with pytest.raises(Invalid, match="without inputs"):
        over(workspace, folder, rows(folder, [1]), column_mapping={})


# B.12, B.13, B.18 Time


def test_async_tools_of_many_lines_run_at_the_same_time(make: Make, workspace: Workspace) -> None:
    code = "async def say(x):\n    import asyncio\n    await asyncio.sleep(0.2)\n    return x"
    folder = make(ONE, say=code)
    began = time.monotonic()
    assert over(workspace, folder, rows(folder, ["a"] * 60)).completed == 60
    assert time.monotonic() - began < 60 * 0.2 / 3


def test_state_of_the_flows_code_lives_as_long_as_its_worker(make: Make, workspace: Workspace) -> None:
    code = "def say(x, seen=[]):\n    seen.append(x)\n    return len(seen)"
    folder = make(ONE, say=code)
    over(workspace, folder, rows(folder, ["a"] * 5), name="state")
    made = [line.outputs["y"] for line in flows.lines(workspace.runs.get("state")) if line.outputs]
    assert sorted(made) == [1, 2, 3, 4, 5]


def test_a_line_that_takes_too_long_says_for_how_long_it_might(make: Make, workspace: Workspace) -> None:
    folder = make(ONE, say="def say(x):\n    import time\n    time.sleep(30)")
    done = over(workspace, folder, rows(folder, ["a"]), name="slow", conditions=flows.Conditions(line_timeout=1))
    assert done.failed == 1
    (line,) = flows.lines(workspace.runs.get("slow"))
    assert "execution timeout for exceeding 1 seconds" in (line.error or "")


# B.24


def test_code_knows_its_file_and_opens_what_lies_beside_it(make: Make) -> None:
    code = "def say(x):\n    import os\n    return [os.path.basename(__file__), open('note.txt').read(), __name__]"
    folder = make(ONE, say=code)
    (folder / "note.txt").write_text("beside")
    file, text, name = once(folder).outputs["y"]
    assert (file, text) == ("say.py", "beside")
    assert name.startswith("__pf_main__")


def test_a_flow_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        flows.load(tmp_path / "absent")
