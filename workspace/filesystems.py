"""What lies under a path: is it a network file system, is it full, and who else may look?"""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path

from workspace.errors import Denied

MOUNTS = Path("/proc/self/mountinfo")

# SQLite's write-ahead log is shared memory: processes on two machines would each see their own and ruin the file.
NETWORK = re.compile(
    r"nfs4?|cifs|smb\w+|afs|ceph|lustre|gpfs|beegfs|glusterfs|gfs2|ocfs2|orangefs|pvfs2|davfs|ncpfs"
    r"|fuse\.(sshfs|s3fs|rclone|glusterfs|gcsfuse|juicefs|ceph|cephfs|davfs)"
)

FULL = 1 << 20  # bytes: with less, SQLite cannot make its log and its shared memory, and calls that an I/O error


def filesystem_of(path: Path, *, mounts: str | None = None) -> str:
    """Return the type of the file system that holds `path`: "ext4", "nfs4", … or "" where nothing tells.

    `mounts` is text as in /proc/self/mountinfo, which is read where it is not given.
    """
    if mounts is None:
        mounts = MOUNTS.read_text() if MOUNTS.exists() else ""
    found, longest = "", -1
    for line in mounts.splitlines():
        left, separator, right = line.partition(" - ")
        fields = left.split()
        if not separator or len(fields) < 5:
            continue
        point = Path(_unescaped(fields[4]))
        # Of two mounts on one point the later one is on top.
        if path.is_relative_to(point) and len(point.parts) >= longest:
            found, longest = right.split()[0], len(point.parts)
    return found


def is_network(path: Path, *, mounts: str | None = None) -> bool:
    """Whether `path`, resolved, lies on a file system that several machines share."""
    return NETWORK.fullmatch(filesystem_of(path.resolve(), mounts=mounts)) is not None


def is_full(folder: Path) -> bool:
    """Whether the disk under a folder has no room for a database to work."""
    return shutil.disk_usage(folder).free < FULL


def close_to_others(path: Path) -> None:
    """Take away what group and others may do with `path`; raise Denied where it is open and not ours to close."""
    status = path.stat()
    if stat.S_IMODE(status.st_mode) & 0o077 == 0:
        return
    if status.st_uid != os.geteuid():
        raise Denied(
            f"{path} belongs to another user and others can read it",
            hint=f"its owner can close it: chmod go-rwx {path}",
        )
    path.chmod(stat.S_IMODE(status.st_mode) & 0o700)


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
