"""What is charged: CPU, memory, and the energy that a processor tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from jobs.sampling import Sampler


def zone(folder: Path, name: str, joules: float) -> None:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "energy_uj").write_text(str(int(joules * 1e6)))
    (folder / name / "max_energy_range_uj").write_text(str(int(1000 * 1e6)))


BURN = (
    "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\nprint(1, flush=True)\ninput()"
)


def test_a_sample_tells_what_living_descendants_take(tmp_path: Path) -> None:
    sampler = Sampler(tmp_path / "samples.jsonl", powercap=tmp_path)
    sampler.look()  # whoever else this process has begun: engines that tests share
    child = subprocess.Popen([sys.executable, "-S", "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin
    assert child.stdout
    child.stdout.readline()
    sampler.look()
    before, sample = map(json.loads, (tmp_path / "samples.jsonl").read_text().splitlines())
    assert 0.3 < sample["cpu_seconds"] - before["cpu_seconds"] < 60
    assert sample["memory"] > 4_000_000
    assert sample["processes"] >= 1
    child.communicate(b"\n")


def test_processes_that_have_ended_are_charged_by_what_the_kernel_counted(tmp_path: Path) -> None:
    sampler = Sampler(tmp_path / "samples.jsonl", powercap=tmp_path)
    pid = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", BURN.replace("input()", "")], os.environ)
    _, _, usage = os.wait4(pid, 0)
    sampler.reaped(usage)
    charged = sampler.end()
    assert 0.35 < charged["cpu_seconds"] < 5
    assert charged["peak_memory"] > 4_000_000
    assert "joules" not in charged  # nobody told
    assert "gpu_seconds" not in charged


def test_a_job_is_charged_the_part_of_the_energy_that_its_processor_time_is(tmp_path: Path) -> None:
    """Files as the kernel has them: a counter that came to its end and began anew, and a part that is counted whole."""
    zone(tmp_path, "intel-rapl:0", 990.0)
    zone(tmp_path, "intel-rapl:0:0", 5.0)
    sampler = Sampler(tmp_path / "samples.jsonl", powercap=tmp_path)
    pid = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", BURN.replace("input()", "")], os.environ)
    sampler.reaped(os.wait4(pid, 0)[2])
    zone(tmp_path, "intel-rapl:0", 10.0)
    zone(tmp_path, "intel-rapl:0:0", 500.0)
    charged = sampler.end()
    assert 0 < charged["joules"] <= 20.0


def test_a_processor_that_tells_nothing_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl:0").mkdir()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("")
    sampler = Sampler(tmp_path / "samples.jsonl", powercap=tmp_path)
    sampler.look()
    assert "joules" not in sampler.end()
