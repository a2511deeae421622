"""Resolve the locks of the curated environments anew: `python docs/write_locks.py [NAME …]`.

CUDA's own packages stay out: torch pins them itself, and a build for CPUs needs none.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from jobs.environments.curated import CURATED, LOCKS, Curated

CUDA = ("triton", *(
    f"nvidia-{part}-{cuda}"
    for part in ("cublas", "cuda-cupti", "cuda-nvrtc", "cuda-runtime", "cudnn", "cufft", "cufile", "curand", "cusolver",
                 "cusparse", "nccl", "nvjitlink", "nvtx")
    for cuda in ("cu11", "cu12")
), "nvidia-cusparselt-cu12")  # fmt: skip


def write(curated: Curated) -> None:
    """Write the lock of one environment."""
    with tempfile.NamedTemporaryFile("w", suffix=".in") as file:
        file.write("\n".join(curated.packages))
        file.flush()
        command = [
            str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--no-header",
            "--no-annotate", "--python-version", curated.python, file.name,
            *(f"--no-emit-package={name}" for name in CUDA),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, cwd=LOCKS, check=False)
    if done.returncode:
        sys.exit(f"{curated.name}: {done.stderr}")
    text = done.stdout.split("# The following packages were excluded")[0].rstrip()
    (LOCKS / f"{curated.name}.txt").write_text(f"# {curated.name}, Python {curated.python}\n{text}\n")


if __name__ == "__main__":
    for each in CURATED:
        if len(sys.argv) == 1 or each.name in sys.argv[1:]:
            sys.stdout.write(f"{each.name}\n")
            sys.stdout.flush()
            write(each)
