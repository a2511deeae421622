"""Jobs: from `job create` to the first line of the log, and a thousand of them on two slots.

    python benchmarks/job_speed.py                     # both rows
    python benchmarks/job_speed.py --jobs 200          # fewer jobs

The first row is the time from the start of `studiolo job create --stream` to the first line that the job says, on the
terminal of whoever asked, with everything warm; "ours" is that without Python's start and the import of what the
command imports. The second is wall time and CPU time of whoever submits, of all shims and of the commands, less what
the same commands take when nothing but `bash` runs them. Slowdown is the wall time over the CPU time of a busy loop
before each row: 1.0 is a free core, and where it is more the figures are lower bounds.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jobs import submit
from jobs.files import read_job
from jobs.files.command import CommandJob
from jobs.linux import adopt_orphans
from workspace.home import Workspace
from workspace.settings import Settings

STUDIOLO = str(Path(sys.executable).parent / "studiolo")
IMPORTED = "import studiolo.cli, studiolo.commands.job, studiolo, workspace.home, jobs.files, jobs.records, jobs.submit"
COUNT = "SELECT count(*) AS n FROM jobs WHERE status NOT IN ('Completed', 'Failed', 'Canceled')"


def slowdown() -> float:
    """Return how much longer than its CPU time a busy loop takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < 0.3:
        pass
    return (time.perf_counter() - wall) / (time.process_time() - cpu)


def cpu_seconds() -> float:
    """Return the CPU time of this process and of those it has waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


def first_line(folder: Path, environment: dict[str, str]) -> float:
    """Return the seconds from the start of the command to the first line of the log."""
    began = time.perf_counter()
    line = [STUDIOLO, "job", "create", "-f", str(folder / "job.yml"), "--stream"]
    with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        for text in process.stdout:
            if text == b"hello\n":
                return time.perf_counter() - began
    sys.exit("the job said nothing")


def started(code: str, environment: dict[str, str]) -> float:
    """Return the seconds that Python takes with some code."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    return time.perf_counter() - began


def echo(folder: Path, times: int) -> None:
    """Print the row of one echo job."""
    environment = os.environ | {"STUDIOLO_HOME": str(folder / "home"), "PYTHONDONTWRITEBYTECODE": ""}
    (folder / "job.yml").write_text("command: echo hello\n")
    slow = slowdown()
    for _ in range(2):
        first_line(folder, environment)
        time.sleep(2.5)  # until no shim waits: whoever comes later starts one
    totals, imports = [], []
    for _ in range(times):
        totals.append(first_line(folder, environment))
        time.sleep(2.5)
        imports.append(started(IMPORTED, environment))
    total, imported = statistics.median(totals), statistics.median(imports)
    print("| one echo job, warm | seconds | slowdown |\n|---|---|---|")
    print(f"| `job create` to its first log line (promised: 1 s) | {total:.2f} | {slow:.2f} |")
    print(f"| of it Python and imports | {imported:.2f} | |")
    print(f"| of it ours (promised: 0.3 s) | {total - imported:.2f} | |\n")


def bare(count: int) -> float:
    """Return the CPU seconds of the commands alone."""
    before = cpu_seconds()
    for number in range(count):
        pid = os.posix_spawn("/bin/bash", ["bash", "-c", f"echo {number}"], os.environ, file_actions=[
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])  # fmt: skip
        os.waitpid(pid, 0)
    return cpu_seconds() - before


def many(folder: Path, count: int) -> None:
    """Print the row of many echo jobs."""
    (folder / "job.yml").write_text("command: echo hello\n")
    job = read_job(folder / "job.yml")
    assert isinstance(job, CommandJob)
    adopt_orphans()  # so that each shim is waited for here, and counted
    slow, alone = slowdown(), bare(count)
    with Workspace.open(settings=Settings(home=folder / "home", job_cpus=2)) as workspace:
        cpu, began = cpu_seconds(), time.perf_counter()
        for _ in range(count):
            submit.submit(workspace, job)
        submitted = time.perf_counter() - began
        while workspace.light.rows(COUNT)[0]["n"]:
            time.sleep(0.05)
        seconds = time.perf_counter() - began
        wait_for_all()
        overhead = (cpu_seconds() - cpu - alone) / count
        ended = workspace.light.rows("SELECT status, count(*) AS n FROM jobs GROUP BY status")
    assert ended == [{"status": "Completed", "n": count}], ended
    print(f"| {count} echo jobs, 2 slots | measured | promised | slowdown |\n|---|---|---|---|")
    print(f"| jobs a minute | {count / seconds * 60:.0f} | 300 | {slow:.2f} |")
    print(f"| CPU overhead a job | {overhead * 1000:.0f} ms | ≤ 60 ms | |")
    print(f"| CPU of the command itself | {alone / count * 1000:.1f} ms | | |")
    print(f"| submitting all of them | {submitted:.1f} s | | |")


def wait_for_all() -> None:
    """Wait for every shim."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=1000, help="how many echo jobs")
    parser.add_argument("--times", type=int, default=5, help="how often one job is created")
    given = parser.parse_args()
    for measure in (lambda folder: echo(folder, given.times), lambda folder: many(folder, given.jobs)):
        folder = Path(tempfile.mkdtemp(prefix="studiolo-jobs-"))
        try:
            measure(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
