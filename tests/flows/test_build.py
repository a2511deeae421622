"""Building a flow: what is in the folder, what is not, and that it can be served as it stands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import flows
from flows.build import build
from flows.connection_files import read
from flows.connections import Connection
from workspace.errors import Conflict, Invalid

TEXT = """\
# What this flow is for is said here.
inputs: {x: {type: int, default: 2}}
outputs:
  y: {type: int, reference: "${times.output}"}
nodes:
- name: times
  use_variants: true
additional_includes: [../shared]
environment: {python_requirements_txt: needs.txt}
node_variants:
  times:
    default_variant_id: twice
    variants:
      twice: {node: {type: python, source: {type: code, path: times.py}, inputs: {x: "${inputs.x}", by: 2}}}
      thrice: {node: {type: python, source: {type: code, path: times.py}, inputs: {x: "${inputs.x}", by: 3}}}
"""
SECRET = "sk-canary-12345"


@pytest.fixture
def folder(make_flow: Callable[..., Path]) -> Path:
    """A flow with variants, an included folder, requirements and files that hold a secret."""
    made = make_flow(
        TEXT, times="def times(x: int, by: int) -> int:\n    from shared.words import ONE\n    return ONE * x * by"
    )
    (made.parent / "shared").mkdir()
    (made.parent / "shared" / "words.py").write_text("ONE = 1\n")
    (made / "needs.txt").write_text("tinydb\n")
    (made / ".env").write_text(f"KEY={SECRET}\n")
    (made / "mine.yaml").write_text(f"name: mine\ntype: open_ai\napi_key: {SECRET}\n")
    return made


def test_variants_are_chosen_and_includes_merged(folder: Path, tmp_path: Path) -> None:
    for variant, expected in ((None, 8), ("times.thrice", 12)):
        built = build(flows.load(folder, variant=variant), tmp_path / "built", format="folder")
        flow = flows.load(built.folder / "flow")
        assert (flow.additional_includes, [node.variants for node in flow.nodes]) == ((), [()])
        assert flows.test(flow, {"x": 4}, connections={}).outputs == {"y": expected}
        assert (built.folder / "flow" / "flow.dag.yaml").read_text().startswith("# What this flow is for")


def test_connections_go_along_without_their_secrets(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Connection(name="my conn", configs={"base_url": "http://x/v1"}, secrets={"api_key": SECRET})
    built = build(flows.load(folder), tmp_path / "built", connections=[mine])
    assert built.variables == ("MY_CONN_API_KEY",)
    assert json.loads((built.folder / "settings.json").read_text()) == {"MY_CONN_API_KEY": ""}
    again = read(built.folder / "connections" / "my_conn.yaml")
    assert (again.name, again.base_url, again.api_key) == ("my conn", "http://x/v1", "${env:MY_CONN_API_KEY}")
    written = [path.read_text() for path in built.folder.rglob("*") if path.is_file()]
    assert not any(SECRET in text for text in written)


def test_a_container_runs_as_nobody_special_with_what_the_flow_requires(folder: Path, tmp_path: Path) -> None:
    lines = (build(flows.load(folder), tmp_path / "built").folder / "Dockerfile").read_text().splitlines()
    assert lines[0] == "FROM python:3.11-slim"
    assert any(line.startswith("RUN pip install --no-cache-dir 'studiolo==") for line in lines)
    assert 'COPY ["flow/needs.txt", "/tmp/requirements.txt"]' in lines
    assert "USER flow" in lines
    assert lines[-1] == 'CMD ["/app/start.sh"]'


def test_an_executable_is_a_folder_that_says_why(folder: Path, tmp_path: Path) -> None:
    built = build(flows.load(folder), tmp_path / "built", format="executable")
    assert "start.sh" in built.note
    assert not (built.folder / "Dockerfile").exists()
    assert (built.folder / "start.sh").stat().st_mode & 0o111


def test_what_is_no_build_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(Conflict, match="no build"):
        build(flows.load(folder), tmp_path / "mine")
    with pytest.raises(Invalid, match="own folder"):
        build(flows.load(folder), folder / "built")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_build_that_fails_leaves_the_earlier_one(folder: Path, tmp_path: Path) -> None:
    target = build(flows.load(folder), tmp_path / "built").folder
    before = (target / "README.md").read_text()
    (folder / "needs.txt").unlink()
    with pytest.raises(Invalid, match=r"needs\.txt"):
        build(flows.load(folder), target)
    assert (target / "README.md").read_text() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".studiolo-build")] == []
