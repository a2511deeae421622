"""Pictures of every page, light and dark, wide and narrow: `python tests/app/screens.py URL TOKEN FOLDER`.

More pages, or pages in a certain state, are named after the folder: `… FOLDER /runs?run=demo-plain`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars")
PAGES = ("/login", "/", "/playground", "/endpoints", "/flows", "/flows?flow=demo", "/runs", "/lineage")
WIDTHS = (1280, 400)


def main(url: str, token: str, folder: Path, pages: list[str]) -> None:
    """Save one picture for each page, scheme and width."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        for scheme in ("light", "dark"):
            for width in WIDTHS:
                _take(browser, url, token, pages or list(PAGES), folder, scheme, width)
        browser.close()


def _take(browser: Browser, url: str, token: str, pages: list[str], folder: Path, scheme: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 860}, color_scheme=scheme)
    tab = context.new_page()
    tab.goto(f"{url}/login?token={token}")
    for page in pages:
        tab.goto(url + page)
        tab.wait_for_selector("h1")
        tab.wait_for_timeout(2500)
        tab.wait_for_selector("[data-testid=stStatusWidget]", state="detached")
        name = re.sub(r"\W+", "-", page).strip("-") or "home"
        tab.screenshot(path=folder / f"{name}-{scheme}-{width}.png")
    context.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
