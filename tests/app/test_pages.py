"""The pages in a real browser, over real services: what a person sees after each click."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

EVIL = "<script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"
Visit = Callable[..., "Page"]


def test_the_login_page_leads_to_the_page_that_was_asked_for(chromium: Any, empty_studio: Any) -> None:
    page = chromium.new_page()
    page.goto(f"{empty_studio.url}/runs")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Open the studio").click()
    page.get_by_text("The token is not valid").wait_for()
    page.get_by_label("Token").fill(empty_studio.token)
    page.get_by_role("button", name="Open the studio").click()
    page.get_by_role("heading", name="Runs").wait_for()
    assert page.url == f"{empty_studio.url}/runs"
    page.close()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/", "studiolo demo"),
        ("/playground", "the gateway is not running"),
        ("/flows", "Comes with Studiolo"),
        ("/endpoints", "No endpoint yet"),
        ("/batch", "No batch endpoint yet"),
        ("/runs", "Nothing has run yet"),
        ("/lineage", "No lineage yet"),
    ],
)
def test_a_page_without_anything_to_show_says_how_to_begin(
    empty_studio: Any, visit: Visit, path: str, says: str
) -> None:
    visit(empty_studio, path).get_by_text(says).first.wait_for()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/runs?run=nobody", "no run 'nobody'"),
        ("/flows?flow=nothing", "no flow 'nothing'"),
        ("/endpoints?endpoint=nothing", "no endpoint 'nothing'"),
        ("/lineage?node=data:nothing", "no data 'nothing'"),
    ],
)
def test_an_address_that_names_nothing_says_so(studio: Any, visit: Visit, path: str, says: str) -> None:
    page = visit(studio, path, wait="[data-testid=stAlert]")
    page.get_by_text(says).first.wait_for()


@pytest.mark.model
def test_home_shows_recent_runs_and_each_leads_to_its_page(studio: Any, visit: Visit) -> None:
    page = visit(studio)
    page.get_by_text("What is running").wait_for()
    page.get_by_role("link", name="went wrong").click()
    page.get_by_role("heading", name="went wrong").wait_for()
    assert "run=" in page.url


@pytest.mark.model
def test_a_question_is_answered_measured_and_still_there_after_a_reload(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/playground?model=smollm2-135m-instruct&max_tokens=12&temperature=0.0&seed=7")
    _ask(page, "What is the capital of France?")
    _answered(page)
    assert "Paris" in page.get_by_test_id("stChatMessage").last.inner_text()
    assert re.search(r"\d+ → \d+ tokens · first token .* tokens/s", page.inner_text("body"))
    assert "model:smollm2-135m-instruct:1" in page.inner_text("body")
    page.reload()
    page.get_by_text("What is the capital of France?").wait_for()
    _answered(page)
    assert "model=" not in page.url or "smollm2" in page.url
    assert "max_tokens=12" in page.url


@pytest.mark.model
def test_an_answer_can_be_stopped_and_given_anew(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/playground?model=smollm2-135m-instruct&max_tokens=1500&temperature=0.0")
    _ask(page, "Write a long story about a lighthouse.")
    _stop(page)
    page.get_by_role("button", name="Regenerate").click()
    page.get_by_text("stopped").wait_for(state="detached")
    _stop(page)


@pytest.mark.model
def test_the_code_for_a_chat_is_shown_without_the_token(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/playground?model=smollm2-135m-instruct&max_tokens=12")
    page.get_by_role("button", name="View code").click()
    page.get_by_role("tab", name="Python").click()
    page.get_by_text("from openai import OpenAI").wait_for()
    assert studio.token not in page.content()


@pytest.mark.model
def test_an_answer_with_markup_stays_text(studio: Any, visit: Visit) -> None:
    turns = [{"role": "user", "text": EVIL, "measured": None}, {"role": "assistant", "text": EVIL, "measured": None}]
    chats = studio.workspace.home / "chats"
    chats.mkdir(exist_ok=True)
    (chats / f"{'e' * 16}.json").write_text(json.dumps({"id": "e" * 16, "turns": turns}))
    page = visit(studio, f"/playground?chat={'e' * 16}")
    page.get_by_test_id("stChatMessage").nth(1).wait_for()
    assert "<script>window.pwned=1</script>" in page.get_by_test_id("stChatMessage").nth(0).inner_text()
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.model
def test_a_flow_is_drawn_run_once_and_each_node_shows_what_it_did(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/flows")
    page.get_by_role("link", name="echo", exact=True).click()
    page.locator("[data-node=say]").wait_for()
    page.get_by_label("text (string)").fill(EVIL)
    page.get_by_role("button", name="Run once").click()
    page.get_by_text("Completed").first.wait_for()
    page.get_by_text("say · python").click()
    page.get_by_text(f"you said {EVIL}").first.wait_for()
    assert page.locator("img[src=x]").count() == 0
    page.reload()
    page.get_by_text(f"you said {EVIL}").first.wait_for()


@pytest.mark.model
def test_a_node_of_the_graph_opens_its_code(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/flows?flow=echo")
    page.locator("[data-node=say]").click()
    page.get_by_text("cannot say").wait_for()
    assert "node=say" in page.url


@pytest.mark.model
def test_runs_are_filtered_and_the_filter_stands_in_the_address(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/runs?status=FAILED&kind=eval")
    page.get_by_text(re.compile(r"^1 of \d")).wait_for()
    place = page.get_by_test_id("stDataFrame").locator("canvas").first.bounding_box()
    page.mouse.click(place["x"] + 60, place["y"] + 52)
    page.get_by_role("heading", name="went wrong").wait_for()


@pytest.mark.model
def test_a_failed_run_shows_its_error_as_text(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/runs?run=went wrong")
    page.get_by_text(f"boom {EVIL}").first.wait_for()
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.model
def test_a_flow_run_shows_its_lines(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/runs?run=echo words")
    page.get_by_role("heading", name="Lines").wait_for()
    page.get_by_test_id("stDataFrame").last.locator("canvas").first.wait_for()


@pytest.mark.model
def test_a_paused_run_is_decided_and_goes_on(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/runs?run=payments")
    page.get_by_text("a large sum").first.wait_for()
    page.get_by_role("textbox", name="Comment").fill("paid by hand")
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("heading", name="Decided: ready to go on").wait_for()
    page.get_by_role("button", name="Go on with the run").click()
    page.get_by_text("The run goes on").wait_for()
    deadline = time.monotonic() + 60
    while page.get_by_text("Finished").count() == 0 and time.monotonic() < deadline:
        page.wait_for_timeout(500)
        page.reload()
        page.get_by_role("heading", name="payments").wait_for()
    page.get_by_text("Finished").first.wait_for()


@pytest.mark.model
def test_a_report_is_shown_in_a_frame_in_which_nothing_runs(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/runs?run=compared")
    frame = page.frame_locator("iframe")
    frame.get_by_role("heading", name="The verdict").wait_for()
    assert page.frames[-1].evaluate("window.pwned") is None
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "report.html"


@pytest.mark.model
def test_lineage_leads_from_the_report_back_to_the_data(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/lineage?node=report:words:1")
    page.locator("[data-node='data:words:1']").click()
    page.wait_for_url("**/lineage?node=data*")
    became = page.get_by_test_id("stColumn").filter(has=page.get_by_role("heading", name="Became"))
    became.get_by_role("link", name="flow run echo words").click()
    page.get_by_role("heading", name="echo words").wait_for()


@pytest.mark.model
def test_a_visitor_who_may_only_look_finds_what_changes_something_shut(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/endpoints?endpoint=support")
    token = studio.workspace.tokens.create("colleague", "viewer")
    page.goto(f"{studio.url}/login?token={token}")
    page.goto(f"{studio.url}/endpoints?endpoint=support")
    assert page.get_by_role("button", name="Pause").is_disabled()
    assert page.get_by_role("button", name="Abort").is_disabled()


@pytest.mark.model
def test_a_rollout_is_shown_with_its_guards_and_aborted(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/endpoints")
    page.get_by_role("link", name="support").click()
    page.wait_for_url("**/endpoints?endpoint=support")
    page.get_by_text("green 1 %").wait_for()
    page.get_by_text("failed requests: 0.0% against 0.0%").wait_for()
    page.get_by_text("1 earlier").click()
    page.get_by_text("too many errors").first.wait_for()
    page.get_by_role("button", name="Abort").click()
    page.get_by_text("blue 100 %").wait_for()
    page.get_by_text("by hand").first.wait_for()


@pytest.mark.model
def test_every_page_of_the_menu_opens_without_an_error_in_the_console(studio: Any, visit: Visit) -> None:
    page = visit(studio)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    for name in ("Playground", "Endpoints", "Batch endpoints", "Flows", "Runs", "Lineage", "Home"):
        page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True).click()
        page.get_by_role("heading", name=name, exact=True).wait_for()
    assert errors == []


def _ask(page: Page, question: str) -> None:
    page.get_by_test_id("stChatInputTextArea").fill(question)
    page.keyboard.press("Enter")


def _stop(page: Page) -> None:
    # Not the answer before, which stays until its place is taken: stopped before its first word, nothing is kept.
    answer = page.get_by_test_id("stChatMessage").nth(1).locator("[data-stale=false]")
    answer.filter(has_text="lighthouse").first.wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("stopped").wait_for()


def _answered(page: Page) -> None:
    page.get_by_text(re.compile(r"\d in all|ms in all|s in all")).first.wait_for()
