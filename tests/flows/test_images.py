"""Images in both forms: what means one, where its path may lead, how it leaves a flow again."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

import flows
from flows import images
from flows.images import Image, Place
from workspace import Workspace
from workspace.errors import Invalid

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ENCODED = base64.b64encode(PIXEL).decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir()
    (made / "pixel.png").write_bytes(PIXEL)
    (tmp_path / "secret.png").write_bytes(PIXEL)
    (made / "passwords.txt").write_text("not an image")
    (made / "link.png").symlink_to(tmp_path / "secret.png")
    return made


@pytest.mark.parametrize(
    "value",
    [
        "pixel.png",
        ENCODED,
        f"data:image/png;base64,{ENCODED}",
        {"data:image/png;path": "pixel.png"},
        {"data:image/*;base64": ENCODED},
        {"type": "image_file", "image_file": {"path": "pixel.png"}},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{ENCODED}"}},
    ],
)
def test_an_image_may_be_said_in_many_ways(folder: Path, value: Any) -> None:
    image = images.create(value, folder=folder)
    assert (bytes(image), image.mime_type) == (PIXEL, "image/png")


def test_an_address_is_fetched_by_the_one_who_may() -> None:
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return PIXEL

    for value in (
        "https://example.org/a.png",
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    ):
        assert bytes(images.create(value, fetch=fetch)) == PIXEL
    assert asked == ["https://example.org/a.png"] * 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a.png", "http://localhost/a.png", "http://169.254.169.254/latest"])
def test_an_address_inside_is_not_fetched_from(url: str) -> None:
    with pytest.raises((Invalid, ValueError), match="inside this machine"):
        images.create(url)


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png",
        "link.png",
        "/etc/passwd",
        "a/../../secret.png",
        "passwords.txt",
        "absent.png",
        "~/x.png",
        "\0.png",
    ],
)
def test_a_path_stays_beside_the_data(folder: Path, path: str) -> None:
    for value in (path, {"data:image/*;path": path}, {"type": "image_file", "image_file": {"path": path}}):
        with pytest.raises(ValueError, match="image"):
            images.create(value, folder=folder)


def test_a_whole_path_inside_is_as_good_and_without_a_place_no_path_is(folder: Path) -> None:
    assert bytes(images.create(str(folder / "pixel.png"), folder=folder)) == PIXEL
    with pytest.raises(ValueError, match="cannot be named by its path here"):
        images.create("pixel.png")


def test_images_are_found_at_any_depth_but_not_without_end(folder: Path) -> None:
    value = {"a": [{"data:image/png;path": "pixel.png"}], "b": 1}
    settled = images.settle_all(value, Place(folder))
    assert settled["a"][0] == {"data:image/png;path": str(folder / "pixel.png")}
    plain = {"a": [1, {"b": "c"}]}
    assert images.settle_all(plain, Place(folder)) is plain
    deep: Any = "x"
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested deeper"):
        images.settle_all(deep, Place(folder))


@pytest.mark.parametrize(
    ("form", "inline", "path"),
    [
        ("basic", {"data:image/png;base64": ENCODED}, "data:image/png;path"),
        (
            "openai-vision",
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{ENCODED}"}},
            "image_file",
        ),
    ],
)
def test_an_image_leaves_in_the_form_of_its_flow(tmp_path: Path, form: str, inline: Any, path: str) -> None:
    image = Image(PIXEL, "image/png")
    assert images.inline(image, form=form) == inline
    written = images.write(image, tmp_path / "out", form=form)
    assert path in written
    assert images.write(image, tmp_path / "out", form=form) == written
    assert [each.read_bytes() for each in (tmp_path / "out").iterdir()] == [PIXEL]


FLOW = """\
message_format: {form}
inputs: {{picture: {{type: image}}}}
outputs: {{same: {{type: image, reference: "${{look.output}}"}}}}
nodes:
- {{name: look, type: python, source: {{type: code, path: look.py}}, inputs: {{picture: "${{inputs.picture}}"}}}}
"""
LOOK = """\
from promptflow.contracts.multimedia import Image
from promptflow.core import tool


@tool
def look(picture: Image) -> Image:
    assert isinstance(picture, Image) and len(picture) > 10
    return picture
"""


@pytest.mark.parametrize("form", ["basic", "openai-vision"])
def test_the_images_of_a_run_lie_beside_its_data_and_become_files_of_it(
    workspace: Workspace, folder: Path, tmp_path: Path, form: str
) -> None:
    made = tmp_path / "flow"
    made.mkdir()
    (made / "flow.dag.yaml").write_text(FLOW.format(form=form))
    (made / "look.py").write_text(LOOK)
    rows = [{"p": {"data:image/png;path": "pixel.png"}}, {"p": {"data:image/png;path": "../secret.png"}}]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    batch = flows.Batch(data=folder / "rows.jsonl", column_mapping={"picture": "${data.p}"}, name="seen")
    *_, done = flows.run(workspace, flows.load(made), batch)
    assert isinstance(done, flows.Finished)
    assert (done.completed, done.failed) == (1, 1)
    good, bad = flows.lines(workspace.runs.get("seen"))
    assert good.outputs is not None
    shown = good.outputs["same"]
    path = shown["data:image/png;path"] if form == "basic" else shown["image_file"]["path"]
    assert Path(path).read_bytes() == PIXEL
    assert workspace.runs.get("seen").directory in Path(path).parents
    assert "secret.png" in (bad.error or "")
