"""What a job takes of a GPU, on a machine that has one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.gpus import Gpus
from jobs.needs import Capacity
from jobs.sampling import Sampler
from workspace.settings import Settings

BYTES = 1 << 30
# The driver's own library is all that a load needs.
LOAD = f"""
import ctypes, time
cuda = ctypes.CDLL("libcuda.so.1")
def must(result):
    assert result == 0, result
device, context, place = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
must(cuda.cuInit(0))
must(cuda.cuDeviceGet(ctypes.byref(device), 0))
must(cuda.cuCtxCreate_v2(ctypes.byref(context), 0, device))
must(cuda.cuMemAlloc_v2(ctypes.byref(place), ctypes.c_size_t({BYTES})))
print("on", flush=True)
end = time.time() + 8
while time.time() < end:
    must(cuda.cuMemsetD8_v2(place, ctypes.c_ubyte(1), ctypes.c_size_t({BYTES})))
    must(cuda.cuCtxSynchronize())
"""


def loaded() -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", LOAD], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "on\n"
    return process


@pytest.mark.gpu
@pytest.mark.parametrize("devices", [("0",), ()])
def test_a_job_is_charged_its_gpu(tmp_path: Path, devices: tuple[str, ...]) -> None:
    """Also where the GPU was not given to it alone: then its processes tell, unless a container hides their numbers."""
    sampler = Sampler(tmp_path / "samples.jsonl", devices, powercap=tmp_path)
    process = loaded()
    try:
        if not devices and not Gpus().look({process.pid}):
            pytest.skip("the driver tells other numbers of processes than we have")
        for _ in range(5):
            sampler.look()
            time.sleep(1)
    finally:
        process.kill()
        process.communicate()
    charged = sampler.end()
    assert charged["gpu_seconds"] > 1
    assert charged["peak_gpu_memory"] > BYTES
    assert charged["joules"] > 50
    samples = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert samples[-1]["gpu_memory"] > BYTES


@pytest.mark.gpu
def test_another_jobs_gpu_is_not_charged() -> None:
    process = loaded()
    try:
        assert Gpus().look({os.getpid()}) == []
    finally:
        process.kill()
        process.communicate()


@pytest.mark.gpu
def test_the_gpus_of_the_machine_are_its_capacity() -> None:
    assert Capacity.of(Settings()).devices[0] == "0"


def test_without_a_driver_nothing_is_charged() -> None:
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has one")
    gpus = Gpus(("0",))
    assert gpus.look({os.getpid()}) == []
    gpus.close()
