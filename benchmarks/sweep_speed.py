"""A sweep of many short trials against Optuna alone, which runs the same sleeps in threads of one process.

    python benchmarks/sweep_speed.py                   # 200 trials of 0.1 s, 2 at once
    python benchmarks/sweep_speed.py --trials 40       # fewer

Each trial of ours is a job: a process of its own with its own folder, log, run and metric, supervised and recorded. It
sleeps as long as Optuna's objective does, and logs its metric by one HTTP request as MLflow's client would. The first
kind of trial is a line of bash, the least that a command can be; the second is a Python script, whose start and imports
(20 ms) are the trial's own. Slowdown is the wall time over the CPU time of a busy loop before all: 1.0 is a free core.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import optuna

from jobs.create import create
from jobs.files import read_job
from jobs.submit import wait
from workspace.home import Workspace
from workspace.settings import Settings

REQUEST = "POST /api/2.0/mlflow/runs/log-metric HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n"
BASH = f"""
sleep $2
exec 3<>/dev/tcp/127.0.0.1/${{MLFLOW_TRACKING_URI##*:}} || exit 1
body='{{"run_id": "'$MLFLOW_RUN_ID'", "key": "loss", "value": '$1', "timestamp": 1}}'
head="Authorization: Bearer $MLFLOW_TRACKING_TOKEN"
printf '{REQUEST}%s\\r\\nContent-Length: %d\\r\\n\\r\\n%s' "$head" ${{#body}} "$body" >&3
read -r status <&3
[[ $status == *" 200 "* ]]
"""
PYTHON = f"""
import os, socket, sys, time
x, seconds = float(sys.argv[1]), float(sys.argv[2])
time.sleep(seconds)
port = os.environ["MLFLOW_TRACKING_URI"].rpartition(":")[2]
body = '{{"run_id": "%s", "key": "loss", "value": %r, "timestamp": 1}}' % (os.environ["MLFLOW_RUN_ID"], x)
asked = "{REQUEST}Authorization: Bearer %s\\r\\nContent-Length: %d\\r\\n\\r\\n%s"
with socket.create_connection(("127.0.0.1", int(port))) as channel:
    channel.sendall((asked % (os.environ["MLFLOW_TRACKING_TOKEN"], len(body), body)).encode())
    assert channel.recv(100).startswith(b"HTTP/1.1 200"), "not logged"
"""
TRIALS = {"bash": ("bash trial", BASH), "python": ("python -I -S trial", PYTHON)}
SWEEP = """
type: sweep
name: tune
trial:
  code: code
  command: COMMAND ${{search_space.x}} SECONDS
  environment: ENVIRONMENT
sampling_algorithm: SAMPLING
search_space:
  x: {type: uniform, min_value: -10, max_value: 10}
objective: {goal: minimize, primary_metric: loss}
limits: {max_total_trials: COUNT, max_concurrent_trials: 2}
"""


def slowdown() -> float:
    """Return how much longer than its CPU time a busy loop takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < 0.3:
        pass
    return (time.perf_counter() - wall) / (time.process_time() - cpu)


def optuna_alone(trials: int, seconds: float, sampling: str) -> float:
    """Return how long Optuna takes with two threads."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", -10, 10)
        time.sleep(seconds)
        return x

    sampler = optuna.samplers.RandomSampler() if sampling == "random" else optuna.samplers.TPESampler()
    began = time.perf_counter()
    optuna.create_study(sampler=sampler).optimize(objective, n_trials=trials, n_jobs=2)
    return time.perf_counter() - began


def environment(folder: Path) -> str:
    """Return an environment with one small package in it, made of a wheel that is written here."""
    from tests.jobs.wheels import wheel

    wheel(folder / "wheels")
    pip = json.dumps(["--no-index", f"--find-links {folder / 'wheels'}", "tinything"])
    return f"{{conda_file: {{dependencies: [{{pip: {pip}}}]}}}}"


def ours(folder: Path, kind: str, trials: int, seconds: float, sampling: str) -> tuple[float, float]:
    """Return how long a sweep takes from its file to its end, and how long one of its trials was at work."""
    command, script = TRIALS[kind]
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "trial").write_text(script)
    text = SWEEP.replace("SECONDS", str(seconds)).replace("COUNT", str(trials)).replace("SAMPLING", sampling)
    text = text.replace("ENVIRONMENT", environment(folder)).replace("COMMAND", command)
    (folder / "sweep.yml").write_text(text)
    with Workspace.open(settings=Settings(home=folder / "home", job_cpus=2)) as workspace:
        job = read_job(folder / "sweep.yml")
        warm(workspace, folder)
        began = time.perf_counter()
        create(workspace, job)
        ended = wait(workspace, "tune", seconds=600)
        took = time.perf_counter() - began
        assert ended.status == "Completed", ended.error
        rows = workspace.light.rows("SELECT started_at, ended_at FROM jobs WHERE parent = 'tune'")
    assert len(rows) == trials
    return took, sum(row["ended_at"] - row["started_at"] for row in rows) / trials


def warm(workspace: Workspace, folder: Path) -> None:
    """Have the environment made before the time is taken, as it is from the second sweep on."""
    text = (folder / "sweep.yml").read_text()
    one = text.replace("name: tune", "name: warm").partition("limits:")[0]
    (folder / "warm.yml").write_text(one + "limits: {max_total_trials: 1}\n")
    create(workspace, read_job(folder / "warm.yml"))
    ended = wait(workspace, "warm", seconds=120)
    assert ended.status == "Completed", ended.error


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.1, help="how long a trial sleeps")
    parser.add_argument("--sampling", default="random", choices=["random", "bayesian"])
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent.parent))
    folder = Path(tempfile.mkdtemp(prefix="studiolo-sweep-"))
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    try:
        slow = slowdown()
        alone = optuna_alone(given.trials, given.seconds, given.sampling)
        found = {kind: ours(folder / kind, kind, given.trials, given.seconds, given.sampling) for kind in TRIALS}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    what = f"{given.trials} trials of {given.seconds:g} s, 2 at once, {given.sampling}"
    print(f"| {what} | seconds | against Optuna | one trial | slowdown |\n|---|---|---|---|---|")
    print(f"| Optuna alone | {alone:.1f} | 1 | {given.seconds:.3f} | {slow:.2f} |")
    for kind, (took, each) in found.items():
        print(f"| a sweep of {kind} trials (promised: 1.5) | {took:.1f} | {took / alone:.2f} | {each:.3f} | |")


if __name__ == "__main__":
    main()
