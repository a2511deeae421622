"""Laying graphs out: what comes from something stands after it, and nothing is lost or placed twice."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from app.graph import Box, layers, picture

NAMES = "abcdefgh"
ARROWS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=20)


@given(ARROWS)
def test_every_name_has_one_place_even_where_arrows_run_in_circles(arrows: list[tuple[str, str]]) -> None:
    placed = [name for row in layers(NAMES, arrows) for name in row]
    assert sorted(placed) == sorted(NAMES)


@given(ARROWS)
def test_without_circles_an_arrow_leads_to_a_later_layer(arrows: list[tuple[str, str]]) -> None:
    forward = [(source, target) for source, target in arrows if source < target]
    depth = {name: index for index, row in enumerate(layers(NAMES, forward)) for name in row}
    assert all(depth[source] < depth[target] for source, target in forward)


def test_a_name_too_long_for_its_box_is_cut_and_kept_in_full_beside() -> None:
    node = picture([Box(id="x", title="n" * 40, kind="run")], [])["nodes"][0]
    assert node["title"] == "n" * 22 + "…"
    assert node["full"] == "n" * 40


def test_two_hundred_boxes_are_laid_out_in_a_tenth_of_a_second() -> None:
    boxes = [Box(id=str(number), title=str(number), kind="run") for number in range(200)]
    arrows = [(str(number // 2), str(number)) for number in range(1, 200)]
    started = time.process_time()
    picture(boxes, arrows)
    assert time.process_time() - started < 0.1
