"""docs/schedules.md and docs/events.md say what is: their file is read, their table has every event."""

from __future__ import annotations

import re
from pathlib import Path

from jobs.events.cloud import TYPES
from jobs.events.deliveries import PAUSES
from jobs.files import read_schedule
from jobs.schedules import definition, store
from workspace.home import Workspace

DOCS = Path(__file__).parents[2] / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_schedule_of_the_page_is_one(workspace: Workspace, tmp_path: Path) -> None:
    (written,) = re.findall(r"```yaml\n(.*?)```", page("schedules.md"), re.DOTALL)
    (tmp_path / "nightly.yml").write_text(written)
    (tmp_path / "job.yml").write_text("command: echo ${{inputs.rate}}\ninputs:\n  rate: 0.1\n")
    made = store.put(workspace, read_schedule(tmp_path / "nightly.yml"), now=1_777_000_000.0)
    assert made.spec["create_job"]["inputs"] == {"rate": 0.2}
    assert definition.catch_up(made.spec) == "last"


def test_the_page_names_every_parameter() -> None:
    for name in definition.PARAMETERS:
        assert f"`{name}`" in page("schedules.md")


def test_the_table_has_every_event() -> None:
    rows = "".join(line.split("|")[1] for line in page("events.md").splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([\w.]+)`", rows)) == set(TYPES)


def test_the_page_tells_the_pauses() -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    (told,) = re.findall(r"told again after (.*?), then it is dead", page("events.md").replace("\n", " "))
    found = [int(number) * units[unit] for number, unit in re.findall(r"(\d+) (s|min|h)", told)]
    assert found == list(PAUSES)
