"""Runs one command on many workers by Ray Train: each is told its rank and where the first one is, as torchrun tells.

`train.py PLAN` is the driver; it runs on the cluster, by a Python that has Ray, and imports nothing of ours.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, Dict, List  # noqa: UP035  Python 3.7 knows them by these names

os.environ["RAY_TRAIN_V2_ENABLED"] = "1"  # the default since Ray 2.51

import ray
import ray.train
from ray.train.collective import broadcast_from_rank_zero
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.queue import Queue

LOOK = 0.2  # seconds between two looks whether the work is to end
_PDEATHSIG = 1


def main() -> int:
    """Have all workers do the plan's command; return the exit code: of the first that failed."""
    with open(sys.argv[1]) as file:  # noqa: PTH123
        plan = json.load(file)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the workers see the file that says so, and end by themselves
    ray.init(log_to_driver=False, logging_level=logging.ERROR)
    words = Queue(actor_options={"num_cpus": 0})
    ends: List[Any] = []  # noqa: UP006
    teller = threading.Thread(target=_tell, args=(words, ends), daemon=True)
    teller.start()
    storage = tempfile.mkdtemp(dir=os.getcwd())  # noqa: PTH109
    error = None
    try:
        _trainer(plan, words, storage).fit()
    except Exception as problem:  # noqa: BLE001  whatever it is, the job has failed by it
        error = problem
    words.put(None)
    teller.join(5.0)
    shutil.rmtree(storage, ignore_errors=True)
    code = next((code for _, code in ends if code), 0)
    if error is not None and not code:
        sys.stderr.write(f"[studiolo] Ray Train: {error}\n")
        return 1
    return code if code >= 0 else 128 - code


def work(told: Dict[str, Any]) -> None:  # noqa: UP006
    """Be one worker: run the command with what it has to know, and hand on what it says."""
    context = ray.train.get_context()
    rank = context.get_world_rank()
    place = broadcast_from_rank_zero(_meeting() if rank == 0 else None)
    variables = dict(told["environment"], **place)
    variables.update((name, value) for name, value in os.environ.items() if name == "CUDA_VISIBLE_DEVICES")
    variables.update(
        RANK=str(rank), WORLD_SIZE=str(context.get_world_size()), LOCAL_RANK=str(context.get_local_rank()),
        LOCAL_WORLD_SIZE=str(context.get_local_world_size()), NODE_RANK=str(context.get_node_rank()),
        GROUP_RANK=str(context.get_node_rank()), AZUREML_CR_NODE_RANK=str(context.get_node_rank()),
    )  # fmt: skip
    logs = os.path.join(told["folder"], "logs")  # noqa: PTH118
    os.makedirs(logs, exist_ok=True)  # noqa: PTH103
    own = os.getpid()
    process = subprocess.Popen(
        [shutil.which("bash") or "/bin/bash", "-c", told["command"]], cwd=told["folder"], env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=lambda: _die_with(own),
    )  # fmt: skip
    threading.Thread(target=_stop, args=(process, told["cancel"]), daemon=True).start()
    said: Any = process.stdout
    with open(os.path.join(logs, f"std_log_process_{rank}.txt"), "ab", 0) as file:  # noqa: PTH118, PTH123
        for line in iter(lambda: said.readline(1 << 16), b""):
            file.write(line)
            told["words"].put(b"[%d] " % rank + line + (b"" if line.endswith(b"\n") else b"\n"))
    code = process.wait()
    told["words"].put((rank, code))
    if code:
        raise RuntimeError(f"worker {rank} has ended with code {code}")


def _trainer(plan: Any, words: Queue, storage: str) -> DataParallelTrainer:
    each = {name: value / plan["processes"] for name, value in plan["resources"].items() if value}
    told = {
        "command": plan["command"], "folder": os.getcwd(), "cancel": plan["cancel"], "words": words,  # noqa: PTH109
        "environment": {name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
    }  # fmt: skip
    return DataParallelTrainer(
        work,
        train_loop_config=told,
        scaling_config=ray.train.ScalingConfig(
            num_workers=plan["nodes"] * plan["processes"], use_gpu=bool(each.get("GPU")), resources_per_worker=each,
            placement_strategy="SPREAD",
        ),
        run_config=ray.train.RunConfig(storage_path=storage),
    )  # fmt: skip


def _tell(words: Queue, ends: List[Any]) -> None:  # noqa: UP006
    while (word := words.get()) is not None:
        if isinstance(word, tuple):
            ends.append(word)
            continue
        sys.stdout.buffer.write(word)
        sys.stdout.buffer.flush()


def _stop(process: subprocess.Popen[bytes], files: List[str]) -> None:  # noqa: UP006
    """End the command where a file asks for it; whoever wrote that kills it later if it does not listen."""
    while process.poll() is None:
        if any(os.path.exists(each) for each in files):  # noqa: PTH110
            os.killpg(process.pid, signal.SIGTERM)
            return
        time.sleep(LOOK)


def _meeting() -> Dict[str, str]:  # noqa: UP006
    """Return where the workers meet: this machine, and a port of it that is free."""
    with socket.socket() as held:
        held.bind(("", 0))
        return {
            "MASTER_ADDR": ray.util.get_node_ip_address(),  # type: ignore[no-untyped-call]
            "MASTER_PORT": str(held.getsockname()[1]),
        }


def _die_with(parent: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
