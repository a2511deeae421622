"""How long the report of 10,000 samples takes to open in Chromium, and its size; `--pictures FOLDER` looks at it."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from evals.compare import Terms, compare_all
from evals.gate import Gate, decide
from evals.reports.page import page
from evals.reports.report import Fact, Report
from evals.samples import Sample, Score, row_id

LOREM = "Long answers say more than short ones and take their time to say it, " * 6
WIDTHS = {"wide": 1280, "narrow": 420}


def samples(count: int, *, seed: int, rate: float) -> list[Sample]:
    """Return a run whose rows pass at that rate, with two metrics and a column to slice by."""
    chance = np.random.default_rng(seed)
    found = []
    for number in range(count):
        passed, inputs = bool(chance.random() < rate), {"question": f"What is {number} + {number}? {LOREM[:120]}"}
        found.append(
            Sample(
                number=number,
                row=row_id(inputs),
                inputs=inputs,
                name=f"q{number}",
                answer=f"{2 * number if passed else 'no idea'}. {LOREM}",
                expected=str(2 * number),
                scores={"exact": Score(value=float(passed)), "style": Score(value=float(chance.beta(5, 2)))},
                metadata={"language": ("de", "en", "fr", "it")[number % 4], "size": "large" if number % 3 else "small"},
            )
        )
    return found


def report(count: int) -> Report:
    """Return the report of two runs that differ by a point and a half."""
    rules = Gate(margin=0.01)
    comparison, *others = compare_all(
        samples(count, seed=1, rate=0.80), samples(count, seed=2, rate=0.78), Terms(every=True, correction="holm")
    )
    return Report(
        name="demo",
        before="main",
        after="candidate",
        comparison=comparison,
        others=tuple(others),
        decision=decide((comparison, *others), rules),
        facts=(Fact("flow", "demo:1", "demo:2"), Fact("data", "questions:1", "questions:1")),
        lineage="report demo",
        run_id="ab" * 16,
        written="1 May 2026",
        data_file="questions.jsonl",
    )


def opened(browser: Browser, path: Path) -> float:
    """Return the seconds until the page is laid out and painted."""
    tab = browser.new_page()
    started = time.perf_counter()
    tab.goto(path.as_uri(), wait_until="load")
    tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    seconds = time.perf_counter() - started
    tab.close()
    return seconds


def pictures(browser: Browser, path: Path, folder: Path) -> None:
    """Take the page in light and dark, wide and narrow, the second row chosen by a key."""
    folder.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        for width, pixels in WIDTHS.items():
            tab = browser.new_page(color_scheme=scheme, viewport={"width": pixels, "height": 1400})
            tab.goto(path.as_uri())
            tab.screenshot(path=folder / f"report-{scheme}-{width}.png")
            tab.keyboard.press("j")
            tab.keyboard.press("j")
            assert tab.evaluate("() => document.activeElement.querySelector('.id').textContent")
            tab.close()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--samples", type=int, default=10_000)
    options.add_argument("--pictures", type=Path)
    options.add_argument("--chromium", default="/usr/bin/chromium")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "report.html"
        path.write_text(page(report(given.samples)), "utf-8")
        browser = playwright.chromium.launch(executable_path=given.chromium, args=["--no-sandbox"])
        times = sorted(opened(browser, path) for _ in range(5))
        size = path.stat().st_size / 1e6
        print(f"{given.samples:,} samples: {size:.2f} MB, opens in {times[2]:.2f} s (the middle of 5)")
        if given.pictures:
            pictures(browser, path, given.pictures)
        browser.close()


if __name__ == "__main__":
    main()
