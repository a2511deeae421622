from __future__ import annotations

from pathlib import Path

import pytest

from workspace.errors import Invalid, Location, PartialFailure, StudioloError, did_you_mean


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (Location(Path("flow.yaml"), 3, 7), "flow.yaml:3:7: unknown key"),
        (Location(Path("flow.yaml"), 3), "flow.yaml:3: unknown key"),
        (Location(Path("flow.yaml")), "flow.yaml: unknown key"),
        (None, "unknown key"),
    ],
)
def test_an_error_begins_with_the_place_it_is_about(at: Location | None, shown: str) -> None:
    assert str(Invalid("unknown key", at=at)) == shown


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("inptus", ["outputs", "inputs"], "did you mean 'inputs'?"),
        ("zzz", ["b", "a"], "known: a, b"),
        ("zzz", [], None),
    ],
)
def test_a_hint_names_the_nearest_word_else_all_of_them_else_nothing(
    word: str, known: list[str], hint: str | None
) -> None:
    assert did_you_mean(word, known) == hint


def test_a_partial_failure_has_an_exit_code_of_its_own() -> None:
    assert PartialFailure.exit_code not in (0, StudioloError.exit_code)
