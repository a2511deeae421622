from __future__ import annotations

import stat
from pathlib import Path

import pytest

from workspace.filesystems import close_to_others, filesystem_of, is_network

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /home rw - nfs4 server:/home rw,vers=4.2
31 30 0:41 / /home/ada/local rw - xfs /dev/vdb rw
32 22 0:42 / /mnt/my\\040share rw - cifs //server/share rw
33 22 0:43 / /mnt/a rw - ext4 /dev/vdc rw
34 33 0:44 / /mnt/a rw - fuse.sshfs server: rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/work", "ext4"),
        ("/home/ada/project", "nfs4"),
        ("/homework", "ext4"),
        ("/home/ada/local/x", "xfs"),
        ("/mnt/my share/x", "cifs"),
        ("/mnt/a", "fuse.sshfs"),
    ],
)
def test_the_deepest_and_last_mount_holds_a_path(path: str, kind: str) -> None:
    assert filesystem_of(Path(path), mounts=MOUNTS) == kind


@pytest.mark.parametrize(
    ("path", "network"), [("/srv", False), ("/home", True), ("/mnt/my share", True), ("/mnt/a", True)]
)
def test_what_several_machines_share_is_a_network_file_system(path: str, network: bool) -> None:
    assert is_network(Path(path), mounts=MOUNTS) is network


def test_this_machine_is_asked_where_no_mounts_are_given() -> None:
    assert filesystem_of(Path("/proc")) == "proc"


def test_what_others_may_do_is_taken_away_and_what_the_owner_may_is_kept(tmp_path: Path) -> None:
    (tmp_path / "open").touch(mode=0o666)
    (tmp_path / "open").chmod(0o654)
    close_to_others(tmp_path / "open")
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o600
