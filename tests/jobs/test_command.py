"""Command job files: what is read, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.command import InputPath, read_command_job, resolve
from workspace.errors import Invalid


def write(folder: Path, text: str) -> Path:
    path = folder / "job.yml"
    path.write_text(text)
    return path


def test_a_job_as_published_files_have_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "rows.csv").write_text("a\n1\n")
    job = read_command_job(
        write(
            tmp_path,
            "$schema: https://example.test/commandJob.schema.json\n"
            "type: command\n"
            "command: python main.py --rows ${{inputs.rows}} --rate ${{inputs.rate}} --out ${{outputs.model}}\n"
            "code: src\n"
            "environment: azureml:sklearn-1.5@latest\n"
            "compute: azureml:cpu-cluster\n"
            "inputs:\n  rows:\n    type: uri_file\n    path: rows.csv\n  rate: 0.1\n"
            "outputs:\n  model:\n    type: uri_folder\n"
            "limits:\n  timeout: 60\n",
        )
    )
    assert job.inputs == {"rows": InputPath(str(tmp_path / "rows.csv")), "rate": 0.1}
    assert job.outputs == ("model",)
    assert job.unused == ("environment", "compute")
    assert job.timeout == 60


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("comand: echo hi\n", ":1:1", "did you mean 'command'?"),
        ("command: echo ${{inputs.nme}}\ninputs:\n  name: x\n", ":1:1", "did you mean 'inputs.name'?"),
        ("command: echo\ninputs:\n  rows:\n    path: gone.csv\n", ":3:3", "relative to the job file"),
        ("command: echo\nlimits:\n  timeout: soon\n", ":3:3", "seconds"),
        ("command: echo\nname: 'no/slash'\n", ":2:1", "name"),
        ("type: sweep\ncommand: echo\n", ":1:1", "command"),
        ("command: ''\n", ":1:1", "command"),
        ("command: echo\ncode: gone\n", ":2:1", "relative"),
    ],
)
def test_what_cannot_be_right_is_refused_with_its_line(tmp_path: Path, text: str, where: str, what: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_command_job(write(tmp_path, text))
    assert where in str(caught.value)
    assert what in f"{caught.value.message} {caught.value.hint}"


def test_expressions_are_filled_from_the_values() -> None:
    assert resolve("cat ${{ inputs.x }} > ${{outputs.y}}", {"inputs.x": "a", "outputs.y": "b"}) == "cat a > b"
