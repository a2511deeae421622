"""Maps of data: which URLs are folders here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jobs.data import places
from jobs.files.references import Url
from jobs.submit import stream, wait
from tests.jobs.conftest import LONG, Submit
from tests.jobs.file_server import cache as cache
from tests.jobs.file_server import said as said
from workspace.errors import Invalid, NotFound
from workspace.home import Workspace


def test_a_map_of_data_makes_public_data_local(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    (tmp_path / "datasets" / "rows").mkdir(parents=True)
    (tmp_path / "datasets" / "rows" / "a.txt").write_text("a\n")
    (tmp_path / "data_map.yml").write_text("https://example.test/data/: ./datasets/\n")
    rest = "inputs:\n  rows:\n    type: uri_folder\n    path: https://example.test/data/rows\n    mode: "
    for mode in ("ro_mount", "download", "direct"):
        assert said(workspace, run, "cat ${{inputs.rows}}/a.txt", rest + mode + "\n") == "a\n"


def test_maps_count_from_near_to_far_and_the_longest_beginning_wins(workspace: Workspace, tmp_path: Path) -> None:
    for name in ("near", "near2", "far", "set"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)
    job = tmp_path / "job"
    job.mkdir()
    (workspace.home / "data_map.yml").write_text(f"https://a.test/: {tmp_path}/far\nhttps://b.test: {tmp_path}/far\n")
    named = tmp_path / "maps.yml"
    named.write_text("https://c.test/: set\n")
    workspace.settings = replace(workspace.settings, data_map=str(named))
    (job / "data_map.yml").write_text("https://a.test/: ../near\nhttps://a.test/2/: ../near2\n")

    def found(url: str) -> str:
        return places.find(workspace, Url(url=url), folder=job).read_text()

    urls = ("https://a.test/x", "https://a.test/2/x", "https://b.test/x?sig=1", "https://c.test/x")
    assert [found(url) for url in urls] == ["near", "near2", "far", "set"]
    with pytest.raises(NotFound, match="which is not there"):
        found("https://a.test/gone")
    with pytest.raises(Invalid, match="not allowed"):
        found("https://a.test/../../etc/passwd")
    (job / "data_map.yml").write_text("- a\n")
    with pytest.raises(Invalid, match="mapping from URLs to paths"):
        found("https://a.test/x")


def test_the_steps_of_a_pipeline_read_by_its_map(workspace: Workspace, tmp_path: Path) -> None:
    from jobs.create import create
    from jobs.files import read_job

    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.txt").write_text("mapped\n")
    (tmp_path / "data_map.yml").write_text("https://example.test/: ./far/\n")
    (tmp_path / "pipeline.yml").write_text(
        "type: pipeline\nname: maps\ninputs:\n  far: {type: uri_file, path: https://example.test/a.txt}\njobs:\n"
        "  say:\n    type: command\n    command: cat ${{inputs.far}}\n"
        "    inputs: {far: '${{parent.inputs.far}}'}\n"
    )
    job = wait(workspace, create(workspace, read_job(tmp_path / "pipeline.yml")).name, seconds=LONG)
    assert job.status == "Completed", job.error
    assert b"mapped\n" in b"".join(stream(workspace, "maps_say"))
