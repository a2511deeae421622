"""Starts the processes of a distributed job on one machine, and ends them together.

This file is copied beside the job and run by the job's own Python, in its container if it has one: it imports
nothing but the standard library, and runs on Python 3.7. `launch.py PLAN` starts all; what they say goes line by
line to standard output, with the number of the process before it, and to a file each in ./logs.
`launch.py PLAN one` is one process that mpirun has started.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import IO, Any, Dict, List, Optional  # noqa: UP035  Python 3.7 knows them by these names

GRACE = 5.0  # seconds between SIGTERM and SIGKILL for those that are left when one has failed
NAP = 0.05  # seconds between two looks
SOON = 90.0  # seconds for a Ray head to come up
HERE = "127.0.0.1"
# What a process of MPI's is told of itself, by Open MPI and by MPICH.
_MPI_RANKS = (("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE"))
Variables = Dict[str, str]  # noqa: UP006


class Group:
    """The processes that were started; they end together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: List[subprocess.Popen[bytes]] = []  # noqa: UP006
        self._servants: List[subprocess.Popen[bytes]] = []  # noqa: UP006
        self._readers: List[threading.Thread] = []  # noqa: UP006
        self._stopped = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def work(self, line: List[str], variables: Variables, log: str, prefix: str = "") -> None:  # noqa: UP006
        """Start a process; what it says goes to the file `log`, and with the prefix to our own output."""
        self._workers.append(self._start(line, variables, log, prefix))

    def serve(self, line: List[str], variables: Variables, log: str, prefix: Optional[str] = None) -> None:  # noqa: UP006, UP045
        """Start one that serves the others until they have ended; without a prefix its words go to `log` alone."""
        self._servants.append(self._start(line, variables, log, prefix))

    def wait(self) -> int:
        """Return the exit code once all have ended: of the first that failed, after which the others are ended."""
        while any(each.poll() is None for each in self._workers) and (self._stopped or not self._failed()):
            time.sleep(NAP)
        failed = self._failed()
        self.end()
        if failed is None:
            return 0
        code = int(failed.returncode)
        return code if code > 0 else 128 - code

    def end(self) -> None:
        """End those that are left: first those who work, then those who serve."""
        for each in (self._workers, self._servants):
            _signal(each, signal.SIGTERM)
            deadline = time.time() + GRACE
            while time.time() < deadline and any(process.poll() is None for process in each):
                time.sleep(NAP)
            _signal(each, signal.SIGKILL)
            for process in each:
                process.wait()
        for reader in self._readers:
            reader.join(GRACE)

    def is_well(self) -> bool:
        """Whether nobody has failed."""
        return self._failed() is None

    def _failed(self) -> Optional[subprocess.Popen[bytes]]:  # noqa: UP045
        return next((each for each in self._workers + self._servants if each.poll()), None)

    def _start(self, line: List[str], variables: Variables, log: str, prefix: Optional[str]) -> subprocess.Popen[bytes]:  # noqa: UP006, UP045
        process = subprocess.Popen(
            line, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        reader = threading.Thread(target=self._read, args=(process.stdout, log, prefix), daemon=True)
        reader.start()
        self._readers.append(reader)
        return process

    def _stop(self, number: int, _frame: Any) -> None:
        self._stopped = True
        _signal(self._workers, number)

    def _read(self, stream: IO[bytes], path: str, prefix: Optional[str]) -> None:  # noqa: UP045
        with open(path, "ab", 0) as file:  # noqa: PTH123
            while True:
                words = stream.readline(1 << 16) if prefix else os.read(stream.fileno(), 1 << 16)
                if not words:
                    return
                file.write(words)
                if prefix is None:
                    continue
                if prefix:
                    words = prefix.encode() + words + (b"" if words.endswith(b"\n") else b"\n")
                with self._lock:
                    sys.stdout.buffer.write(words)
                    sys.stdout.buffer.flush()


def main() -> int:
    """Start what the plan says; return the exit code."""
    with open(sys.argv[1]) as file:  # noqa: PTH123
        plan = json.load(file)
    os.makedirs("logs", exist_ok=True)  # noqa: PTH103
    if sys.argv[2:] == ["one"]:
        return _one(plan)
    if plan["nodes"] > 1:
        _say(f"{plan['nodes']} nodes, all of which are this machine")
    return {"pytorch": _pytorch, "mpi": _mpi, "tensorflow": _tensorflow, "ray": _ray}[plan["type"]](plan)


def _pytorch(plan: Any) -> int:
    world, shared = plan["nodes"] * plan["processes"], dict(os.environ, **_meeting())
    group = Group()
    for rank in range(world):
        group.work(_line(plan), dict(shared, **_told(plan, rank)), _log(rank), f"[{rank}] " if world > 1 else "")
    return group.wait()


def _mpi(plan: Any) -> int:
    program = shutil.which("mpirun") or shutil.which("mpiexec")
    world = plan["nodes"] * plan["processes"]
    if program is None:
        _say(f"there is no mpirun: {world} processes are started without it, and know their ranks by variables alone")
        return _pytorch(plan)
    line = [program, "-n", str(world)]
    said = subprocess.run([program, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False).stdout
    if any(word in said for word in (b"Open MPI", b"OpenRTE", b"PRRTE", b"PRTE")):
        line += ["--oversubscribe"] + (["--allow-run-as-root"] if os.getuid() == 0 else [])
    own = [sys.executable, os.path.abspath(__file__), os.path.abspath(sys.argv[1]), "one"]  # noqa: PTH100
    group = Group()
    group.work(line + own, dict(os.environ, **_meeting()), os.devnull)
    return group.wait()


def _one(plan: Any) -> int:
    """Be one process of mpirun's: its rank is known, its words are kept in a file too."""
    rank, world = (int(os.environ[name]) for name in next(names for names in _MPI_RANKS if names[0] in os.environ))
    group = Group()
    variables = dict(os.environ, **_told(plan, rank))
    group.work(_line(plan), variables, _log(rank), f"[{rank}] " if world > 1 else "")
    return group.wait()


def _told(plan: Any, rank: int) -> Variables:
    """Return what one process is told of itself, as torchrun and Azure ML do."""
    each = plan["processes"]
    node, local, world = rank // each, rank % each, plan["nodes"] * each
    found = {
        "RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": local, "LOCAL_WORLD_SIZE": each,
        "NODE_RANK": node, "GROUP_RANK": node, "AZUREML_CR_NODE_RANK": node,
    }  # fmt: skip
    if plan["type"] == "mpi":
        found.update(
            OMPI_COMM_WORLD_RANK=rank, OMPI_COMM_WORLD_SIZE=world, OMPI_COMM_WORLD_LOCAL_RANK=local,
            OMPI_COMM_WORLD_LOCAL_SIZE=each,
        )  # fmt: skip
    words = {name: str(value) for name, value in found.items()}
    words.update(_devices(plan["nodes"], node))
    return words


def _tensorflow(plan: Any) -> int:
    counts = {"worker": plan["workers"], "ps": plan["servers"]}
    ports = free_ports(sum(counts.values()))
    cluster = {kind: [f"{HERE}:{ports.pop()}" for _ in range(count)] for kind, count in counts.items() if count}
    group = Group()
    for kind, places in cluster.items():
        for index in range(len(places)):
            told = {"cluster": cluster, "task": {"type": kind, "index": index}, "environment": "cloud"}
            variables = dict(os.environ, TF_CONFIG=json.dumps(told), **_meeting())
            if kind == "ps":  # it serves until it is ended
                variables["CUDA_VISIBLE_DEVICES"] = ""
                group.serve(_line(plan), variables, _log(f"ps{index}"), f"[ps{index}] ")
                continue
            variables.update(NODE_RANK=str(index), AZUREML_CR_NODE_RANK=str(index), **_devices(plan["workers"], index))
            group.work(_line(plan), variables, _log(index), f"[{index}] " if sum(counts.values()) > 1 else "")
    return group.wait()


def _ray(plan: Any) -> int:
    """Start a head and workers, each a node of its own, run the command beside the head, then end all."""
    group = Group()
    if plan["address"]:
        group.work(_line(plan), dict(os.environ, RAY_ADDRESS=plan["address"]), _log(0))
        return group.wait()
    program = shutil.which("ray")
    if program is None:
        _say("there is no `ray` in the job's environment; add the package `ray` to it")
        return 127
    temporary = f"/tmp/ray-{os.urandom(4).hex()}"  # noqa: S108  short: a socket's path has 107 letters at most
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(32).hex(), "RAY_USAGE_STATS_ENABLED": "0"}
    try:
        return _on_ray(plan, program, temporary, group, dict(os.environ, **secret))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _on_ray(plan: Any, program: str, temporary: str, group: Group, variables: Variables) -> int:
    port, shown = plan["port"] or free_ports(1)[0], plan["dashboard"]
    cores = max(1, (os.cpu_count() or 1) // plan["nodes"])
    common = ["--block", f"--num-cpus={cores}", f"--node-ip-address={HERE}", "--disable-usage-stats"]
    head = [program, "start", "--head", f"--port={port}", f"--temp-dir={temporary}", f"--include-dashboard={shown}"]
    head += [f"--dashboard-host={HERE}", f"--dashboard-port={plan['dashboard_port'] or free_ports(1)[0]}"]
    own = dict(variables, **_devices(plan["nodes"], 0))
    group.serve(head + common + plan["head_arguments"], own, _log("ray_head"))
    _await(port, group)
    worker = [program, "start", f"--address={HERE}:{port}"]
    for number in range(1, plan["nodes"]):
        told = dict(variables, **_devices(plan["nodes"], number))
        group.serve(worker + common + plan["worker_arguments"], told, _log(f"ray_worker_{number}"))
    group.work(_line(plan), dict(own, RAY_ADDRESS=f"{HERE}:{port}"), _log(0))
    return group.wait()


def _await(port: int, group: Group) -> None:
    deadline = time.time() + SOON
    while time.time() < deadline and group.is_well():
        try:
            socket.create_connection((HERE, port), 1.0).close()
            return
        except OSError:
            time.sleep(NAP)
    _say("the Ray head did not come up; see logs/std_log_process_ray_head.txt")


def _devices(nodes: int, node: int) -> Variables:
    """Return the GPUs of one of several nodes that are all this machine."""
    listed = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    each = len(listed) // nodes
    if nodes == 1 or not each:
        return {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(listed[node * each : (node + 1) * each])}


def _meeting() -> Variables:
    """Return where the processes meet."""
    return {"MASTER_ADDR": HERE, "MASTER_PORT": str(free_ports(1)[0])}


def free_ports(count: int) -> List[int]:  # noqa: UP006
    """Return ports that nobody listens on; they differ, since all are held until all are found."""
    held = [socket.socket() for _ in range(count)]
    try:
        for each in held:
            each.bind((HERE, 0))
        return [int(each.getsockname()[1]) for each in held]
    finally:
        for each in held:
            each.close()


def _line(plan: Any) -> List[str]:  # noqa: UP006
    return [shutil.which("bash") or "/bin/bash", "-c", plan["command"]]


def _log(rank: Any) -> str:
    return os.path.join("logs", f"std_log_process_{rank}.txt")  # noqa: PTH118


def _say(text: str) -> None:
    sys.stdout.write(f"[studiolo] {text}\n")
    sys.stdout.flush()


def _signal(processes: List[subprocess.Popen[bytes]], number: int) -> None:  # noqa: UP006
    for process in processes:
        if process.poll() is None:
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                continue  # it has ended at this moment


if __name__ == "__main__":
    sys.exit(main())
