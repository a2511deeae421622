"""The page of batch endpoints in a real browser: files go in, and a person follows them to what comes out."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from app import parts
from jobs import states
from jobs.spec import Spec
from serving.batch import deploying, invoking
from serving.batch.endpoint_files import BatchEndpointFile
from studiolo import batch_activity
from tests.app.conftest import EVIL
from workspace.light_database import to_json

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.model]

Visit = Callable[..., "Page"]
PHONE = {"viewport": {"width": 390, "height": 844}}


def test_the_list_leads_to_an_endpoint_and_on_to_a_job(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/batch")
    page.get_by_role("link", name="letters", exact=True).click()
    page.wait_for_url("**/batch?endpoint=letters")
    page.get_by_text("answers where none is named").wait_for()
    page.get_by_text("files that may fail: 0").wait_for()
    page.get_by_role("link", name="letters-count", exact=True).click()
    page.wait_for_url("**/batch?endpoint=letters&job=letters-count")
    page.get_by_role("heading", name="letters-count").wait_for()


def test_a_job_shows_its_rows_what_failed_and_why(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/batch?endpoint=letters&job=letters-count")
    page.get_by_text("! Completed, 1 failed").wait_for()
    page.get_by_text("2 of 3 files, 1 failed, 2 rows").wait_for()
    page.get_by_text("1 file failed").wait_for()
    failed = page.get_by_test_id("stExpander").filter(has_text="1 file failed")
    failed.get_by_text("ValueError: no letters in 1.txt <img src=x onerror='window.pwned=1'>").wait_for()
    assert page.locator("img[src=x]").count() == 0
    page.get_by_test_id("stDataFrame").locator("canvas").first.wait_for()


def test_what_came_out_is_downloaded(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/batch?endpoint=letters&job=letters-count")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download predictions.csv").click()
    assert download.value.suggested_filename == "predictions.csv"
    lines = Path(download.value.path()).read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["0.txt", "2.txt"]


def test_files_of_data_are_downloaded_by_who_has_logged_in_and_no_others_are(studio: Any, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a b.html").write_text(EVIL)
    studio.workspace.assets.put("data", "rows", tmp_path / "rows")
    cookies = httpx.get(f"{studio.url}/login", params={"token": studio.token}).cookies
    place = f"{studio.url}/data/data:rows:1/a%20b.html"
    answer = httpx.get(place, cookies=cookies)
    assert (answer.status_code, answer.text) == (200, EVIL)
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]
    for path in (
        "data:rows:1/c.html",
        "data:rows:9/a%20b.html",
        "model:letters:1/weights.txt",
        "data:rows:1/..%2ftoken",
    ):
        assert httpx.get(f"{studio.url}/data/{path}", cookies=cookies).status_code in (400, 404), path
    assert httpx.get(place).status_code == 403


def test_a_job_that_failed_says_why_and_goes_on_as_a_new_one(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/batch?endpoint=letters&job=letters-strict")
    page.get_by_text("1 of 3 files have failed: ValueError: no letters in 1.txt").first.wait_for()
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("**job=letters-strict-again-*")
    page.get_by_role("heading", name=re.compile("letters-strict-again-")).wait_for()
    # Only the new job's log has this; its status reads as that of the one before, which may still stand there.
    page.get_by_text("mini-batches were finished before").wait_for()


def test_uploaded_files_are_scored_and_followed_to_the_end(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/batch?endpoint=letters")
    _upload(page, [("a b.txt", "slow a"), ("c.txt", "slow cc"), ("<i>.txt", "slow")])
    page.get_by_role("button", name="Begin a job").click()
    page.wait_for_url("**job=letters-count-*")
    page.get_by_text(re.compile("Running|Completed")).first.wait_for()
    page.get_by_text("✓ Completed").wait_for()
    page.get_by_text("3 of 3 files, 3 rows").wait_for()
    page.get_by_role("link", name="Download predictions.csv").wait_for()
    page.get_by_role("link", name="data:letters-upload:1").click()
    page.wait_for_url("**/lineage?node=data**letters-upload**")


def test_one_uploaded_file_stands_in_the_command(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/batch?endpoint=letters&deployment=strict")
    _upload(page, [("one.txt", "o")])
    page.get_by_text("The same from the command line").click()
    page.get_by_text("studiolo batch-endpoint invoke -n letters -d strict --input one.txt").wait_for()
    page.get_by_text("type: uri_file").wait_for()


def test_data_of_the_workspace_is_chosen_and_stands_in_the_address_the_command_and_the_file(
    studio: Any, visit: Visit
) -> None:
    page = visit(studio, "/batch?endpoint=letters")
    page.get_by_role("radio", name="Data or a path").click()
    field = page.get_by_role("combobox", name="data")
    field.fill("letters-texts")
    page.get_by_role("option", name="azureml:letters-texts:1").click()
    page.wait_for_url("**path-data=azureml**")
    page.get_by_text("The same from the command line").click()
    page.get_by_text("--input azureml:letters-texts:1").wait_for()
    page.get_by_text("path: azureml:letters-texts:1").wait_for()
    page.reload()
    page.get_by_role("button", name="Begin a job").click()
    page.wait_for_url("**job=letters-count-*")
    page.get_by_text("! Completed, 1 failed").wait_for()


def test_what_cannot_be_asked_is_refused_where_it_was_asked(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/batch?endpoint=letters")
    page.get_by_role("button", name="Begin a job").click()
    page.get_by_text("no file was given").wait_for()
    page = visit(studio, "/batch?endpoint=letters&from=Data or a path&path-data=/nowhere/at all")
    page.get_by_role("button", name="Begin a job").click()
    page.get_by_text("no file or folder at '/nowhere/at all'").wait_for()
    assert "job=" not in page.url


def test_a_visitor_who_owns_nothing_names_no_files_of_this_machine(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/batch?endpoint=letters")
    token = studio.workspace.tokens.create("colleague", "viewer")
    page.goto(f"{studio.url}/login?token={token}")
    page.goto(f"{studio.url}/batch?endpoint=letters&from=Data or a path&path-data=/etc/hostname")
    page.get_by_role("button", name="Begin a job").click()
    page.get_by_text("takes one input, not 0").wait_for()
    assert "job=" not in page.url


def test_a_job_is_cancelled(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/batch?endpoint=letters")
    _upload(page, [(f"{number}.txt", "slow") for number in range(60)])
    page.get_by_role("button", name="Begin a job").click()
    page.wait_for_url("**job=letters-count-*")
    page.get_by_text(re.compile(r"[1-9]\d* of 60 files")).wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("■ Canceled").wait_for()
    page.get_by_role("button", name="Go on").wait_for()
    assert batch_activity.jobs(studio.workspace, "letters")[0].status == "Canceled"


def test_the_files_that_make_an_endpoint_are_shown_without_the_values_of_variables(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/batch?endpoint=letters")
    page.get_by_text("The files that make it").click()
    page.get_by_text("studiolo batch-deployment create -f deployment-count.yml --set-default").wait_for()
    page.get_by_text("scoring_script: score.py").first.wait_for()
    assert "SECRET" in page.inner_text("body")
    assert "hush" not in page.content()


def test_many_jobs_are_turned_over_like_pages(studio: Any, visit: Visit) -> None:
    deploying.put_endpoint(studio.workspace, BatchEndpointFile(name="busy"))
    spec = Spec(command="true", run_id="", tags={invoking.ENDPOINT: "busy", invoking.DEPLOYMENT: "gone"})
    for number in range(25):
        job = {"name": f"busy-{number:02d}", "kind": "command", "status": "Failed", "spec": to_json(spec.plain())}
        states.add(studio.workspace.light, job | {"submitted_at": time.time(), "ended_at": time.time()})
    page = visit(studio, "/batch?endpoint=busy")
    page.get_by_role("link", name="busy-24", exact=True).wait_for()
    page.get_by_text("25 jobs, the newest first.").wait_for()
    page.get_by_role("button", name="Page 2").click()
    page.get_by_role("link", name="busy-04", exact=True).wait_for()
    page.get_by_role("link", name="busy-24", exact=True).wait_for(state="detached")
    page.wait_for_url("**page=2**")
    page.reload()
    page.get_by_role("link", name="busy-00", exact=True).click()
    page.get_by_role("heading", name="busy-00").wait_for()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/batch?endpoint=bare", "No deployment yet"),
        ("/batch?endpoint=bare", "No job yet"),
        ("/batch?endpoint=nothing", "no endpoint 'nothing'"),
        ("/batch?endpoint=support", "is of kind 'online'"),
        ("/batch?endpoint=letters&job=nothing", "no job 'nothing'"),
        ("/batch?endpoint=bare&job=letters-count", "has no job 'letters-count'"),
    ],
)
def test_what_is_not_there_is_said(studio: Any, visit: Visit, path: str, says: str) -> None:
    visit(studio, path, wait="[data-testid=stMain]").get_by_text(says).first.wait_for()


def test_the_page_of_endpoints_sends_a_batch_endpoint_to_its_own(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/endpoints?endpoint=letters", wait="[data-testid=stMain]")
    page.wait_for_url("**/batch?endpoint=letters")
    page.get_by_role("heading", name="letters", exact=True).wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/batch", "/batch?endpoint=letters", "/batch?endpoint=letters&job=letters-count"])
def test_nothing_is_wider_than_a_telephone(studio: Any, visit: Visit, path: str, scheme: str) -> None:
    page = visit(studio, path, color_scheme=scheme, **PHONE)
    page.get_by_text(re.compile("letters-")).first.wait_for()
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= PHONE["viewport"]["width"]


def _upload(page: Page, files: Sequence[tuple[str, str]]) -> None:
    """Choose files, and wait until the page has them all."""
    given = [{"name": name, "mimeType": "text/plain", "buffer": text.encode()} for name, text in files]
    page.get_by_test_id("stFileUploader").locator("input[type=file]").set_input_files(given)
    size = sum(len(text) for _, text in files)
    page.get_by_text(f"{parts.many(len(files), 'file')}, {size} B", exact=True).wait_for()
