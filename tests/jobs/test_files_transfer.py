from __future__ import annotations

from pathlib import Path

import pytest

from jobs.files import read_component
from workspace.errors import Invalid

COPY = """name: copy
type: data_transfer
task: copy_data
inputs: {a: {type: uri_folder}}
outputs: {b: {type: uri_folder}}
"""


def test_a_copy_has_something_to_copy_and_one_place_to_copy_to(tmp_path: Path) -> None:
    path = tmp_path / "copy.yml"
    path.write_text(COPY)
    assert [*read_component(path).outputs] == ["b"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("inputs: {a: {type: uri_folder}}\n", "needs `inputs` to copy"),
        ("outputs: {b: {type: uri_folder}}\n", "needs one output to copy to"),
    ],
)
def test_a_copy_of_nothing_or_to_nowhere_is_refused(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "copy.yml"
    path.write_text(COPY.replace(line, ""))
    with pytest.raises(Invalid, match=says):
        read_component(path)
