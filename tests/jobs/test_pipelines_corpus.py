"""Every pipeline of the corpus that can be read can be made whole, kept, and read again the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jobs.files import job_of, read_job
from jobs.files.pipeline import PipelineJob
from jobs.files.plain import plain
from jobs.parents import keep
from jobs.pipelines.submission import complete
from workspace.errors import Invalid, NotFound
from workspace.home import Workspace

CORPUS = Path(__file__).parent / "corpus" / "job"
# What names components that nobody has registered here, and one without steps.
REFUSED = {
    "pipeline_bindings_in_settings.yml": NotFound,
    "pipeline_empty.yml": Invalid,
    "pipeline_registered_alone.yml": NotFound,
    "pipeline_registered_components.yml": NotFound,
    "pipeline_unknown_key_in_step.yml": NotFound,
}


def test_pipelines_of_the_corpus_are_the_same_when_their_process_reads_them(workspace: Workspace) -> None:
    seen = 0
    for path in sorted(CORPUS.glob("*.yml")):
        try:
            job = read_job(path)
        except Invalid:
            continue
        if not isinstance(job, PipelineJob):
            continue
        seen += 1
        if path.name in REFUSED:
            with pytest.raises(REFUSED[path.name]):
                complete(workspace, job)
            continue
        whole = keep(workspace, complete(workspace, replace(job, name="whole")))
        assert plain(job_of(plain(whole), job.folder)) == plain(whole), path.name
    assert seen > 30
