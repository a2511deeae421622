"""The page of runs in a real browser: what a person must not overlook."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.model]

Visit = Callable[..., "Page"]


def test_a_run_with_lines_that_failed_does_not_look_like_a_success(studio: Any, visit: Visit) -> None:
    page = visit(studio, "/runs?run=echo words")
    page.get_by_text("! Finished, 1 failed").wait_for()
    page.get_by_text("1 of the lines failed; the rest are kept.").wait_for()
