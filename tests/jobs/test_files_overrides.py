"""`--set`: where a value goes, as which type, and what cannot be set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.files import read_job
from jobs.files.command import CommandJob
from jobs.files.overrides import Override, apply, parse
from workspace.documents import Document
from workspace.errors import Invalid

ROOT: dict[str, Any] = {"inputs": {"rate": 0.1, "rows": {"path": "a.csv"}}, "list": [1, {"a": 2}], "job": "file:x.yml"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", ("a", 1)),
        ("a.b=0.5", ("a.b", 0.5)),
        ("a=true", ("a", True)),
        ("a=text with spaces", ("a", "text with spaces")),
        ("a=[1, 2]", ("a", [1, 2])),
        ("a={b: c}", ("a", {"b": "c"})),
        ("a=", ("a", "")),
        ("a=null", ("a", None)),
        ("a=b=c", ("a", "b=c")),
        ("command=echo ${{inputs.x}}", ("command", "echo ${{inputs.x}}")),
    ],
)
def test_a_value_is_read_as_yaml_reads_it(text: str, expected: Override) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("way", "got"),
    [
        ("inputs.rate", ("inputs", "rate")),
        ("inputs.rows.path", ("inputs", "rows", "path")),
        ("limits.timeout", ("limits", "timeout")),
        ("jobs.train.trial.code", ("jobs", "train", "trial", "code")),
        ("list[1].a", ("list", 1, "a")),
        ("list.0", ("list", 0)),
        ("list[2]", ("list", 2)),
    ],
)
def test_a_dotted_way_leads_to_its_place(way: str, got: tuple[str | int, ...]) -> None:
    document = Document(Path("job.yml"), ROOT)
    assert apply(document, ((way, "new"),)).get(*got) == "new"
    assert document.get(*got) != "new"


@pytest.mark.parametrize("text", ["a", "=1", ""])
def test_what_sets_nothing_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


@pytest.mark.parametrize("way", ["job.inputs.x", "list.x", "list[7]", "[0]"])
def test_where_nothing_can_be_set(way: str) -> None:
    with pytest.raises(Invalid):
        apply(Document(Path("job.yml"), ROOT), ((way, 1),))


def test_a_job_is_read_as_if_its_file_said_so(tmp_path: Path) -> None:
    path = tmp_path / "job.yml"
    path.write_text("command: echo ${{inputs.a}}\nenvironment: azureml:e:1\ninputs:\n  a: 1\n")
    job = read_job(path, (parse("inputs.a=2"), parse("limits.timeout=5"), parse("type=command")))
    assert isinstance(job, CommandJob)
    assert (job.inputs, job.timeout) == ({"a": 2}, 5)
