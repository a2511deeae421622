"""Wheels and packages written by hand: environments can be made of them without any index, in a moment."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.files.environment import Environment

SCRIPT = "tinything.py"
MAIN = """
def main():
    import sys
    print(sys.prefix, VERSION)
"""
SLOW = """
import pathlib, time, zipfile

def build_wheel(folder, *_):
    beside = pathlib.Path({beside!r})
    (beside / "begun").touch()
    if not (beside / "quick").exists():
        time.sleep(60)
    name = "slow-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{{folder}}/{{name}}", "w") as file:
        file.writestr("slow.py", "")
        file.writestr("slow-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: slow\\nVersion: 1\\n")
        file.writestr("slow-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        file.writestr("slow-1.dist-info/RECORD", "")
    return name
"""


def wheel(
    folder: Path, name: str = "tinything", version: str = "1.0", *, tag: str = "py3-none-any", needs: Sequence[str] = ()
) -> Path:
    """Write a wheel of one module, which knows its version, and of one script that prints where it runs."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-{tag}.whl"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    about += "".join(f"Requires-Dist: {each}\n" for each in needs)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(
            f"{name}.py", f"VERSION = {version!r}\ndef main():\n    import sys\n    print(sys.prefix, VERSION)\n"
        )
        file.writestr(f"{name}-{version}.dist-info/METADATA", about)
        file.writestr(f"{name}-{version}.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        file.writestr(f"{name}-{version}.dist-info/entry_points.txt", f"[console_scripts]\n{name}={name}:main\n")
        file.writestr(f"{name}-{version}.dist-info/RECORD", "")
    return path


def path_wheel(folder: Path, paths: Sequence[str], name: str = "elsewhere") -> Path:
    """Write a wheel that puts folders of packages on the path: what is there need not be installed again."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.pth", "".join(f"{each}\n" for each in paths))
        file.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return path


def slow_package(folder: Path) -> Path:
    """Write a package that takes a minute to build, unless there is a file `quick` beside it; it touches `begun`."""
    folder.mkdir()
    recipe = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (folder / "pyproject.toml").write_text(f'{recipe}[project]\nname = "slow"\nversion = "1"\n')
    (folder / "backend.py").write_text(SLOW.format(beside=str(folder.parent)))
    return folder


def environment(folder: Path, *packages: str, python: str = "", conda: Sequence[str] = ()) -> Environment:
    """Return an environment of wheels that lie in `folder`."""
    pip: dict[str, Any] = {"pip": ["--no-index", f"--find-links {folder}", *packages]}
    listed = [*([f"python={python}"] if python else []), *conda]
    return Environment(conda={"dependencies": [*listed, pip]}, folder=folder)


def compiled_wheel(folder: Path, name: str, content: bytes) -> Path:
    """Write a wheel of a package that has one file with this content, called as compiled ones are."""
    path = wheel(folder, name)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(f"{name}_parts/fast.so", content)
    return path
