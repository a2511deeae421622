"""The schemas say what the readers read: the same keys, and every flow we ship is right by them."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows import connection_files, connections, dag, flex, prompty, run_file
from flows.package_tools import BUILTIN
from flows.schemas import SCHEMAS
from workspace.documents import read_yaml
from workspace.errors import Invalid

Draft202012Validator: Any = importlib.import_module("jsonschema").Draft202012Validator
ROOT = Path(__file__).parents[2]
SHIPPED = [ROOT / "examples" / "flows", ROOT / "studiolo" / "demo_flow", ROOT / "flows" / "starters"]


def files(pattern: str) -> list[Path]:
    return sorted(path for folder in SHIPPED for path in folder.rglob(pattern))


def problems(name: str, value: Any) -> list[str]:
    return [
        f"{error.json_path}: {error.message}" for error in Draft202012Validator(SCHEMAS.schema(name)).iter_errors(value)
    ]


@pytest.mark.parametrize("name", SCHEMAS.made_by)
def test_a_schema_is_one_and_its_files_are_up_to_date(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS.schema(name))
    for folder in (SCHEMAS.folder, ROOT / "docs" / "schemas"):
        written = (folder / SCHEMAS.file_name(name)).read_text(encoding="utf-8")
        assert written == SCHEMAS.text(name), "run `python docs/write_schemas.py`"


def test_the_script_writes_both_folders(tmp_path: Path) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import write_schemas; print(write_schemas.FOLDER.name)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "docs")], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "schemas"
    assert {path.name for path in SCHEMAS.write(tmp_path)} == {path.name for path in tmp_path.iterdir()}


def test_the_keys_are_those_that_are_read() -> None:
    made = SCHEMAS.schema("flow.dag")
    parts = made["$defs"]
    assert set(made["properties"]) == dag.FLOW_KEYS
    assert set(parts["node"]["properties"]) == dag.NODE_KEYS
    assert set(parts["input"]["properties"]) == dag.INPUT_KEYS
    assert set(parts["output"]["properties"]) == dag.OUTPUT_KEYS
    assert set(parts["source"]["properties"]) == dag.SOURCE_KEYS
    assert set(parts["retry"]["anyOf"][1]["properties"]) == dag.RETRY_KEYS
    assert set(parts["map"]["anyOf"][1]["properties"]) == dag.MAP_KEYS
    assert [each["const"] for each in parts["node"]["properties"]["type"]["oneOf"]] == list(dag.NODE_TYPES)
    assert set(SCHEMAS.schema("flow.flex")["properties"]) == flex.KEYS
    assert set(SCHEMAS.schema("prompty")["properties"]) == prompty.KEYS
    assert set(SCHEMAS.schema("run")["properties"]) == run_file.KEYS


@pytest.mark.parametrize("file", files("flow.dag.y*ml"), ids=lambda file: file.parent.name)
def test_a_shipped_flow_is_right(file: Path) -> None:
    assert problems("flow.dag", read_yaml(file).root) == []


@pytest.mark.parametrize("file", files("flow.flex.y*ml"), ids=lambda file: file.parent.name)
def test_a_shipped_flex_flow_is_right(file: Path) -> None:
    assert problems("flow.flex", read_yaml(file).root) == []


@pytest.mark.parametrize("file", files("*.prompty"), ids=lambda file: file.name)
def test_a_shipped_prompty_is_right(file: Path) -> None:
    assert problems("prompty", prompty.parts(file)[0].root) == []


@pytest.mark.parametrize("file", files("run*.y*ml"), ids=lambda file: file.parent.name)
def test_a_shipped_run_is_right(file: Path) -> None:
    assert problems("run", read_yaml(file).root) == []


@pytest.mark.parametrize("file", files("*connection*.y*ml"), ids=lambda file: file.parent.name)
def test_a_shipped_connection_is_right(file: Path) -> None:
    assert problems("connection", read_yaml(file).root) == []


@pytest.mark.parametrize("kind", connections.KINDS.values(), ids=lambda kind: kind.type)
def test_a_connection_of_every_type_is_right_with_what_it_needs_and_wrong_without(
    kind: connections.Kind, tmp_path: Path
) -> None:
    secrets = {"secrets": {"key": "s"}} if kind.type == "custom" else {"api_key": "s"}
    whole: dict[str, Any] = {"name": "mine", "type": kind.type, **secrets} | dict.fromkeys(kind.required, "https://a")
    file = tmp_path / "connection.yaml"
    for left_out in [None, *secrets, *kind.required]:
        given = {key: value for key, value in whole.items() if key != left_out}
        file.write_text("".join(f"{key}: {value}\n" for key, value in given.items()))
        if left_out is None:
            connection_files.read(file)
            assert problems("connection", given) == []
            continue
        with pytest.raises(Invalid):
            connection_files.read(file)
        assert problems("connection", given)


def test_the_tools_we_bring_are_right() -> None:
    assert problems("tool", {key: dict(value) for key, value in BUILTIN.items()}) == []
    assert problems("tool", {"a.b": {"name": "B", "type": "python"}})


NODE: dict[str, Any] = {"name": "a", "type": "python", "source": {"path": "a.py"}}


@pytest.mark.parametrize(
    "node",
    [
        NODE,
        NODE | {"retry": 3, "timeout": 2.5, "cache": True, "map": "${b.output}", "pin": None},
        NODE | {"retry": {"max": 1, "on": ["OSError"]}, "map": {"over": "${b.output}", "as": "each", "concurrency": 2}},
        NODE | {"activate": {"when": "${b.output}", "is": 1, "else": 0}},
        {"name": "a", "type": "approval", "inputs": {"question": "Pay?"}},
        {"name": "a", "type": "flow", "source": {"path": "../other"}},
        {"name": "a", "type": "langchain", "source": {"path": "chain.py:chain"}},
        {"name": "a", "type": "python", "source": {"type": "package", "tool": "x.y"}},
        {"name": "a", "use_variants": True},
    ],
)
def test_what_a_node_may_say(node: dict[str, Any]) -> None:
    assert problems("flow.dag", {"nodes": [node]}) == []


@pytest.mark.parametrize(
    "node",
    [
        NODE | {"type": "pyhton"},
        NODE | {"inptus": {}},
        NODE | {"source": {"type": "package"}},
        NODE | {"retry": {"times": 3}},
        NODE | {"retry": -1},
        NODE | {"timeout": "long"},
        NODE | {"cache": "yes"},
        NODE | {"map": {"as": "each"}},
        NODE | {"activate": {"when": 1}},
        {"name": "a", "type": "python"},
        {"type": "python", "source": {"path": "a.py"}},
        {"name": "a"},
    ],
)
def test_what_a_node_may_not_say(node: dict[str, Any]) -> None:
    assert problems("flow.dag", {"nodes": [node]})


def test_every_key_of_a_node_is_explained() -> None:
    parts = SCHEMAS.schema("flow.dag")["$defs"]
    for each in parts["node"]["properties"].values():
        said = parts[each["$ref"].rpartition("/")[2]] if "$ref" in each else each
        assert said["description"]
