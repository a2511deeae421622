from __future__ import annotations

import contextlib
import multiprocessing
import os
import stat
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace.errors import Invalid, Unavailable
from workspace.paths import locked, plain_name, safe_join, write_atomically

FORK = multiprocessing.get_context("fork")

# What attacks on such functions are made of.
PIECES = [
    "..",
    ".",
    "",
    "a",
    "b.txt",
    "~",
    "/",
    "\\",
    "\0",
    "#",
    "%2e%2e",
    "%252e%252e",
    "%2f",
    "%5c",
    "C:",
    "//h",
    "…",
    " ",
]
attacks = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=6).flatmap(
    lambda parts: st.sampled_from(["/".join(parts), "\\".join(parts), "".join(parts), quote("/".join(parts))])
)


@settings(max_examples=150, deadline=None)
@given(relatives=st.lists(attacks, min_size=20, max_size=20))
def test_of_thousands_of_hostile_paths_none_leaves_its_root(relatives: list[str]) -> None:
    root = Path("/nowhere/root")
    for relative in relatives:
        with contextlib.suppress(Invalid):
            joined = safe_join(root, relative)
            assert joined.is_relative_to(root)
            assert ".." not in joined.parts


@pytest.mark.parametrize(
    "relative",
    ["", "/etc/passwd", "../x", "a/../../x", "a/..", "%2e%2e/x", "%252e%252e/x", "..\\x", "C:\\x", "c:x", "//host/x",
     "\\\\h\\x", "~/x", "a\0b", "a#b", "a%00b", "%2fetc"],
)  # fmt: skip
def test_what_could_lead_out_is_refused(tmp_path: Path, relative: str) -> None:
    with pytest.raises(Invalid):
        safe_join(tmp_path, relative)


@pytest.mark.parametrize("relative", ["a", "a/b.txt", ".hidden", "a..b", "größe 1.txt", "100%", "a%20b"])
def test_an_ordinary_path_is_joined(tmp_path: Path, relative: str) -> None:
    assert safe_join(tmp_path, relative) == tmp_path / relative


def test_a_link_that_leads_out_is_refused_and_one_that_stays_is_followed(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "inside").symlink_to("real")
    (tmp_path / "root" / "outside").symlink_to("/etc")
    assert safe_join(tmp_path / "root", "inside/x") == tmp_path / "root" / "real" / "x"
    with pytest.raises(Invalid, match="leads out"):
        safe_join(tmp_path / "root", "outside/passwd")


def test_links_in_a_circle_are_refused_and_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(Invalid):
        safe_join(tmp_path, "a/x")


def test_a_file_is_replaced_whole_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    write_atomically(tmp_path / "sub" / "f", "old")
    write_atomically(tmp_path / "sub" / "f", b"new")
    assert (tmp_path / "sub" / "f").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "sub" / "f").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["f"]


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("rows-1.csv", "rows-1.csv"),
        ("größe.csv", "größe.csv"),
        ("a;id $(b)\n", "a_id___b__"),
        ("../x", ".._x"),
        ("..", "content"),
    ],
)
def test_a_name_of_somebody_elses_is_no_folder_and_no_command(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(Unavailable, match="cannot write"):
        write_atomically(tmp_path / "folder", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot write"):
        write_atomically(tmp_path / "file" / "deeper", "x")


def test_a_lock_keeps_others_out_and_the_dead_do_not_hold_it(tmp_path: Path) -> None:
    holder = FORK.Process(target=_hold_and_die, args=(tmp_path / "lock",))
    holder.start()
    holder.join(20)
    assert holder.exitcode == 7
    with locked(tmp_path / "lock"):
        writer = FORK.Process(target=_append, args=(tmp_path / "lock", tmp_path / "log"))
        writer.start()
        writer.join(0.2)
        assert writer.is_alive()
        assert not (tmp_path / "log").exists()
        with pytest.raises(Unavailable, match="in use"), locked(tmp_path / "lock", patience=0.05):
            pass
    writer.join(20)
    assert (tmp_path / "log").read_text() == "in"


def _hold_and_die(path: Path) -> None:
    with locked(path):
        os._exit(7)


def _append(lock: Path, log: Path) -> None:
    with locked(lock):
        log.write_text("in")
