"""What the studio is told of batch endpoints and their jobs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from jobs import submit
from serving.batch import deploying, invoking
from serving.batch.endpoint_files import BatchEndpointFile
from serving.batch.progress import Failure
from studiolo import batch_activity
from tests.serving.test_batch_runs import Batch
from workspace import Workspace
from workspace.errors import Conflict, NotFound


@pytest.fixture
def batch(workspace: Workspace, tmp_path: Path) -> Batch:
    return Batch(workspace, tmp_path)


def test_endpoints_are_told_with_their_newest_job(batch: Batch) -> None:
    batch.deploy(mini_batch_size=1)
    deploying.put_endpoint(batch.workspace, BatchEndpointFile(name="idle"))
    for name in ("first", "second"):
        batch.end(batch.begin(["a"], job_name=name))
    heart, idle = batch_activity.summaries(batch.workspace)
    assert (heart.endpoint.name, heart.jobs, heart.running) == ("heart", 2, 0)
    assert heart.newest
    assert (heart.newest.name, heart.newest.share) == ("second", 1.0)
    assert (idle.endpoint.name, idle.jobs, idle.newest) == ("idle", 0, None)


def test_a_job_tells_how_far_it_is_what_failed_and_what_came_out(batch: Batch) -> None:
    batch.deploy(mini_batch_size=1, retry_settings="{max_retries: 0}")
    batch.end(batch.begin(["a", "bad", "b"], job_name="one"))
    job = batch_activity.job(batch.workspace, "heart", "one")
    assert (job.status, job.counts.files_failed, job.counts.rows, job.share) == ("Completed", 1, 2, 1.0)
    assert not job.resumable
    assert batch_activity.failures(batch.workspace, job) == [Failure(("001.txt",), "ValueError: cannot read 001.txt")]
    [output] = batch_activity.outputs(batch.workspace, job)
    assert [each.name for each in output.files] == ["000.txt.seen", "002.txt.seen", "predictions.csv"]
    assert batch_activity.log(batch.workspace, job)[-1] == "warning: 1 of 3 files have failed, as many as may"


def test_a_job_that_failed_says_why_and_goes_on(batch: Batch) -> None:
    batch.deploy(mini_batch_size=1, error_threshold=0, retry_settings="{max_retries: 0}")
    batch.end(batch.begin(["a", "bad"], job_name="one"))
    job = batch_activity.job(batch.workspace, "heart", "one")
    reason = "1 of 2 files have failed: ValueError: cannot read 001.txt"
    assert batch_activity.why_failed(batch.workspace, job) == reason
    assert (job.resumable, batch_activity.outputs(batch.workspace, job)) == (True, [])
    again = batch_activity.resume(batch.workspace, "heart", "one")
    submit.wait(batch.workspace, again.name, seconds=60)
    assert "1 mini-batches were finished before" in batch_activity.log(batch.workspace, again)


def test_a_job_is_cancelled(batch: Batch) -> None:
    batch.deploy(mini_batch_size=1)
    job = batch.begin(["slow"] * 20)
    while invoking.counts(batch.workspace, job).files_done < 1:
        time.sleep(0.05)
    assert 0 < batch_activity.job(batch.workspace, "heart", job.name).share < 1
    batch_activity.cancel(batch.workspace, "heart", job.name)
    batch.end(job)
    [found] = batch_activity.jobs(batch.workspace, "heart")
    assert (found.status, found.resumable) == ("Canceled", True)


def test_what_is_of_another_endpoint_is_not_found(batch: Batch) -> None:
    batch.deploy()
    batch.end(batch.begin(["a"], job_name="one"))
    deploying.put_endpoint(batch.workspace, BatchEndpointFile(name="idle"))
    with pytest.raises(NotFound, match="has no job 'one'"):
        batch_activity.job(batch.workspace, "idle", "one")
    with pytest.raises(NotFound, match="has no job 'one'"):
        batch_activity.cancel(batch.workspace, "idle", "one")
    with pytest.raises(Conflict, match="is Completed"):
        batch_activity.resume(batch.workspace, "heart", "one")


def test_one_deployment_answers_by_itself_and_of_several_the_default(batch: Batch) -> None:
    batch.deploy(name="blue")
    assert batch_activity.default_deployment(batch_activity.endpoint(batch.workspace, "heart")) == "blue"
    batch.deploy(name="green")
    assert batch_activity.default_deployment(batch_activity.endpoint(batch.workspace, "heart")) == ""
    deploying.put_endpoint(batch.workspace, BatchEndpointFile(name="heart", default="green"))
    assert batch_activity.default_deployment(batch_activity.endpoint(batch.workspace, "heart")) == "green"
