"""A job's own layer on a shared environment: what the job installs lies in the layer, and nobody else meets it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from jobs.environments import java, store
from jobs.environments.events import Prepared
from workspace.paths import writing

SHARED = "_studiolo_shared.pth"
SMALL = 65536  # bytes: scripts are copied, programs linked
# How a job's `pip install` finds its index as ours does.
PASSED = ("PIP_", "UV_")
PASSED_NAMES = frozenset({
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
})  # fmt: skip


def layer(prepared: Prepared, folder: Path) -> Path:
    """Make a virtual environment in `folder` that sees all of the shared one; return its Python. Takes milliseconds.

    `pip install` in it writes into it alone, and what it installs goes before what is shared.
    """
    shared, programs = prepared.folder, folder / "bin"
    with writing(folder):
        programs.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shared / "pyvenv.cfg", folder / "pyvenv.cfg")
        for each in (shared / "bin").iterdir():
            target = programs / each.name
            if target.is_symlink() or target.exists():
                continue
            if each.is_symlink():
                target.symlink_to(each.readlink())
            elif each.stat().st_size > SMALL or not _is_script(each):
                target.symlink_to(each)  # programs look for their libraries beside themselves
            else:
                # Scripts look for the Python beside themselves: a copy runs by the layer's.
                shutil.copy(each, target)
        for packages in shared.glob("lib/python*/site-packages"):
            own = folder / packages.relative_to(shared)
            own.mkdir(parents=True, exist_ok=True)
            # Through `site`, so that what the shared packages ask for at the start is done as well.
            (own / SHARED).write_text(f"import site; site.addsitedir({str(packages)!r})\n", encoding="utf-8")
        if not (folder / "lib64").exists():
            (folder / "lib64").symlink_to("lib")
    return store.python_of(folder)


def fetching(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which packages are found and fetched."""
    return {name: value for name, value in environ.items() if name.startswith(PASSED) or name in PASSED_NAMES}


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def variables(prepared: Prepared, python: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a command needs in its environment so that `python`, `pip` and scripts are those of the layer."""
    found = fetching(environ)
    found["VIRTUAL_ENV"] = str(python.parent.parent)
    found["PATH"] = f"{python.parent}:{environ.get('PATH', '/usr/local/bin:/usr/bin:/bin')}"
    found["PYTHONNOUSERSITE"] = "1"  # what somebody installed with --user is not part of it
    spark = next((line[9:] for line in store.read(prepared.folder).packages if line.startswith("pyspark==")), "")
    if spark and (home := java.find(spark, environ, prepared.folder)):
        found["JAVA_HOME"] = str(home)
    return found
