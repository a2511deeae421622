"""Run YAML: all its keys, its paths, its names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flows.run_file import default_name, display_name, read, read_variables
from workspace.errors import Invalid, NotFound

WHOLE = """\
$schema: https://example.org/Run.schema.json
name: mine
display_name: ${run} of ${variant_id}
description: A run
tags: {team: search, size: 3}
properties: {a: 1}
flow: flow
data: rows.jsonl
run: earlier
column_mapping: {question: "${data.q}", limit: 3}
variant: ${ask.short}
environment_variables: {A: 1, B: {c: [1]}}
connections: {ask: {connection: mine, model: small}}
init: {size: 2}
resources: {instance_type: big}
runtime: auto
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flow").mkdir()
    (tmp_path / "rows.jsonl").write_text("{}\n")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    file = folder / "run.yaml"
    file.write_text(text)
    return file


def test_every_key_is_read_and_paths_are_relative_to_the_file(folder: Path) -> None:
    found = read(write(folder, WHOLE))
    assert found.flow == str(folder / "flow")
    assert found.data == folder / "rows.jsonl"
    assert (found.name, found.run, found.variant) == ("mine", "earlier", "${ask.short}")
    assert found.column_mapping == {"question": "${data.q}", "limit": 3}
    assert found.connections == {"ask": {"connection": "mine", "model": "small"}}
    assert found.environment_variables == {"A": "1", "B": '{"c": [1]}'}
    assert found.tags == {"team": "search", "size": "3"}
    assert found.init == {"size": 2}
    assert found.warnings == ()


def test_an_unknown_key_is_a_warning_with_its_line(folder: Path) -> None:
    found = read(write(folder, "flow: flow\ndata: rows.jsonl\nfoo: 1\n"))
    assert len(found.warnings) == 1
    assert found.warnings[0].endswith("run.yaml:3:1: unknown key 'foo'")


def test_variables_and_init_may_be_files(folder: Path) -> None:
    (folder / ".env").write_text("# no\nexport A='one two'\nB=2 # two\nC=\"#3\"\n\n")
    (folder / "init.json").write_text('{"size": 5}')
    found = read(write(folder, "flow: flow\nrun: r\nenvironment_variables: .env\ninit: init.json\n"))
    assert found.environment_variables == {"A": "one two", "B": "2", "C": "#3"}
    assert found.init == {"size": 5}


def test_a_line_that_is_no_variable_is_named(folder: Path) -> None:
    (folder / ".env").write_text("A=1\nnothing\n")
    with pytest.raises(Invalid, match=r"\.env:2"):
        read_variables(folder / ".env")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flow: flow\n", "`data` or `run`"),
        ("data: rows.jsonl\n", "needs `flow`"),
        ("flow: flow\ndata: azureml:rows:1\n", "elsewhere"),
        ("flow: flow\nrun: r\ncolumn_mapping: [a]\n", "must be a mapping"),
        ("flow: flow\nrun: r\nconnections: {ask: mine}\n", "must be a mapping"),
        ("flow: flow\nrun: r\ntags: a\n", "must be a mapping"),
        ("[1]", "is a mapping"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(folder: Path, text: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as caught:
        read(write(folder, text))
    assert caught.value.at is not None


def test_a_path_that_is_not_there_is_said(folder: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        read(write(folder, "flow: nowhere\nrun: r\n"))


def test_a_flow_may_be_a_function_of_a_module(folder: Path) -> None:
    assert read(write(folder, "flow: tools.answer:ask\nrun: r\n")).flow == "tools.answer:ask"


def test_a_run_is_named_after_its_folder_variant_and_time(folder: Path) -> None:
    assert re.fullmatch(r"flow_short_\d{8}_\d{6}_\d{6}", default_name(folder / "flow", "${ask.short}"))
    assert re.fullmatch(r"flow_variant_0_\d{8}_\d{6}_\d{6}", default_name(folder / "flow" / "flow.dag.yaml"))
    assert re.fullmatch(r"_3_my_flow_variant_0_[\d_]+", default_name(folder / "3 my-flow"))


def test_a_display_name_is_filled_in() -> None:
    assert display_name("${run} of ${variant_id}", run="mine", variant="ask.short") == "mine of short"
    assert re.fullmatch(r"at \d{12} ${other}".replace("${", r"\$\{"), display_name("at ${timestamp} ${other}", run="m"))
