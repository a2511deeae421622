"""Images as environments: built and run by a real podman or docker, where there is one."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import folders
from jobs.environments import Prepared, Preparing, containers, find, prepare
from jobs.environments.containers import Run
from jobs.files import read_job
from jobs.files.environment import Build, Environment
from jobs.files.pipeline import PipelineJob
from jobs.inputs import Laid
from jobs.leftovers import MARKER
from jobs.pipelines.debug import debug
from jobs.preparation import Python
from jobs.submit import stream, wait
from tests.jobs.conftest import LONG, Submit
from workspace.errors import Invalid, NotFound, Unavailable
from workspace.home import Workspace

BUSYBOX = shutil.which("busybox")
# Inside of some sandboxes podman needs another view of control groups and no limits to set.
SANDBOXED = """#!/bin/sh
exec unshare -m sh -c 'umount /sys/fs/cgroup/unified; exec {podman} "$@"' podman "$@"
"""
LIMITS = '[containers]\ncgroups = "disabled"\ndefault_ulimits = ["nofile=1024:1024", "nproc=100:100"]\n'
RECIPE = """FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN echo {word} > /word
"""

# Commands of jobs run in bash: here that is busybox's shell.
BASH = "RUN printf '#!/bin/sh\\nexec sh \"$@\"\\n' > /bin/bash && chmod +x /bin/bash\n"


def build(folder: Path, word: str = "hello", recipe: str = RECIPE) -> Environment:
    """An image of next to nothing: no registry is asked."""
    folder.mkdir(exist_ok=True)
    shutil.copy(BUSYBOX or "", folder / "busybox")
    (folder / "Dockerfile").write_text(recipe.format(word=word))
    return Environment(build=Build(path=folder))


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables under which docker or podman runs a container, or a reason to skip."""
    known = dict(os.environ)
    folder = tmp_path_factory.mktemp("podman")
    if BUSYBOX is None or containers.program(known) is None:
        pytest.skip("needs busybox and a docker or podman that answers")
    for variables in (known, _sandboxed(folder, known)):
        before = _images(variables)
        if _runs(folder, variables):
            yield variables
            made = _images(variables) - before
            subprocess.run(
                [str(containers.program(variables)), "image", "rm", "--force", *made], env=variables, check=True
            )
            return
    pytest.skip("docker or podman runs no container here")


def _images(variables: dict[str, str]) -> set[str]:
    command = [str(containers.program(variables)), "images", "--format", "{{.Repository}}:{{.Tag}}", containers.NAME]
    return set(subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout.split())


def _sandboxed(folder: Path, known: dict[str, str]) -> dict[str, str]:
    podman, own = shutil.which("podman") or "podman", folder / "bin"
    own.mkdir()
    (own / "podman").write_text(SANDBOXED.format(podman=podman))
    (own / "podman").chmod(0o755)
    (folder / "containers.conf").write_text(LIMITS)
    changed = {"CONTAINERS_CONF": str(folder / "containers.conf"), "BUILDAH_ISOLATION": "chroot"}
    return {**known, **changed, "PATH": f"{own}:{known['PATH']}"}


def _runs(folder: Path, variables: dict[str, str]) -> bool:
    try:
        last = list(prepare(folder, build(folder / "try"), environ=variables))[-1]
    except Invalid:
        return False
    assert isinstance(last, Prepared)
    assert last.container
    command = containers.command(last.container, Run(command=["true"], folder=Path("/"), name="studiolo-try"))
    return subprocess.run(command, env=variables, capture_output=True, check=False).returncode == 0


def prepared(tmp_path: Path, environment: Environment, environ: dict[str, str]) -> Prepared:
    last = list(prepare(tmp_path, environment, environ=environ))[-1]
    assert isinstance(last, Prepared)
    return last


def test_an_image_is_built_once_and_a_command_runs_in_it(tmp_path: Path, environ: dict[str, str]) -> None:
    word = secrets.token_hex(4)  # no image of an earlier run has it
    asked = build(tmp_path / "context", word=word)
    assert find(tmp_path, asked, environ=environ) is None
    events = list(prepare(tmp_path, asked, environ=environ))
    assert any(isinstance(event, Preparing) and "STEP" in event.text.upper() for event in events)
    there = events[-1]
    assert isinstance(there, Prepared)
    assert there.container
    assert "the job runs in a container" in there.said[0]
    assert list(prepare(tmp_path, asked, environ=environ)) == [there]
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "given.txt").write_text("given")
    script = f"cat /word {tmp_path}/in/given.txt; echo $SECRET; pwd; touch {tmp_path}/in/no; echo x > made"
    run = Run(
        command=["sh", "-c", script],
        folder=tmp_path / "out", name="studiolo-test", mounts={tmp_path / "in": False, tmp_path / "out": True},
        variables=["SECRET"],
    )  # fmt: skip
    command = containers.command(there.container, run)
    assert not any("hidden" in word for word in command)
    done = subprocess.run(command, env={**environ, "SECRET": "hidden"}, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [word, "givenhidden", str(tmp_path / "out")], done.stderr
    assert (tmp_path / "out" / "made").exists()
    assert not (tmp_path / "in" / "no").exists()


def test_a_changed_context_is_another_image(tmp_path: Path, environ: dict[str, str]) -> None:
    first = prepared(tmp_path, build(tmp_path / "context", "one"), environ)
    second = prepared(tmp_path, build(tmp_path / "context", "two"), environ)
    assert first.container != second.container


def test_a_running_container_can_be_ended_by_its_name(tmp_path: Path, environ: dict[str, str]) -> None:
    there = prepared(tmp_path, build(tmp_path / "context"), environ)
    assert there.container
    name = f"studiolo-{tmp_path.name.replace('_', '-')}"
    run = Run(command=["sh", "-c", "echo up; sleep 100"], folder=Path("/"), name=name)
    command = containers.command(there.container, run)
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        containers.end(there.container, name, environ)
        assert process.wait(20) != 0


def test_the_python_of_a_container_finds_the_modules_that_stand_in(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine's Python and bash are shown to a container that has nothing else."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    there = prepared(tmp_path, build(tmp_path / "context"), environ).container
    assert there
    (tmp_path / "code").mkdir()
    shown = Laid(values={}, read_only={Path(each): Path(each) for each in ("/usr", "/lib", "/lib64")})
    python = Python(container={"program": str(there.program), "image": there.image})
    code = "import mltable; print(mltable.__file__)"
    line = python.line(["/bin/bash", "-c", f"/usr/bin/python3 -c '{code}'"], tmp_path, {MARKER: tmp_path.name}, shown)
    done = subprocess.run(line, env=environ, capture_output=True, text=True, check=False)
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "cache"), done.stderr


def test_a_job_runs_in_its_container_and_leaves_its_output(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, workspace: Workspace, run: Submit
) -> None:
    for name, text in (environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}).items():
        monkeypatch.setenv(name, text)
    build(tmp_path / "context", recipe=RECIPE + BASH)
    (tmp_path / "rows").write_text("row\n")
    job = run(
        "cat /word ${{inputs.rows}} > ${{outputs.o}}/x; echo $STUDIOLO_JOB",
        "name: boxed\nenvironment: {build: {path: context}}\ninputs: {rows: {path: rows}}\noutputs: {o: {}}\n",
    )
    ended = wait(workspace, job.name, seconds=LONG)
    said = b"".join(stream(workspace, job.name)).decode()
    assert (ended.status, ended.exit_code, said.splitlines()[-1]) == ("Completed", 0, "boxed"), said
    assert (folders.outputs_of(workspace.home, "boxed") / "o/x").read_text() == "hello\nrow\n"


def test_a_step_of_a_pipeline_runs_in_front_in_its_container(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> None:
    for name, text in (environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}).items():
        monkeypatch.setenv(name, text)
    shell = "RUN printf '#!/bin/sh\\nexec sh \"$@\"\\n' > /bin/bash && chmod +x /bin/bash\n"
    build(tmp_path / "context", recipe=RECIPE + shell)
    (tmp_path / "code").mkdir()
    (tmp_path / "code/x").write_text("1")
    (tmp_path / "pipeline.yml").write_text(
        "type: pipeline\njobs:\n  one:\n    environment: {build: {path: context}}\n    code: code\n"
        "    outputs: {o: {type: uri_file}}\n"
        "    command: cat /word x > ${{outputs.o}}; echo 2 > x; exit 5\n"
    )
    job = read_job(tmp_path / "pipeline.yml")
    assert isinstance(job, PipelineJob)
    assert debug(workspace, job, "one") == 5
    (left,) = (workspace.home / "debug").glob("*/outputs/o")
    assert left.read_text() == "hello\n1"
    assert (tmp_path / "code/x").read_text() == "2\n"


def test_a_failed_build_is_told_in_a_line(tmp_path: Path, environ: dict[str, str]) -> None:
    asked = build(tmp_path / "context", recipe=RECIPE + 'RUN ["/bin/no-such-program"]\n')
    with pytest.raises(Invalid, match=r"the image could not be made: .*no-such-program") as refused:
        list(prepare(tmp_path, asked, environ=environ))
    assert "\n" not in str(refused.value)


def test_without_docker_or_podman_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    nothing = {"PATH": str(tmp_path)}
    with pytest.raises(Unavailable, match="needs docker or podman, and neither answers here"):
        list(prepare(tmp_path, Environment(build=Build(path=tmp_path)), environ=nothing))
    with pytest.raises(Unavailable, match=r"image 'example\.test/x:1' is none that Studiolo knows"):
        list(prepare(tmp_path, Environment(image="example.test/x:1"), environ=nothing))
    assert find(tmp_path, Environment(image="example.test/x:1"), environ=nothing) is None


def test_a_client_without_an_engine_is_none(tmp_path: Path) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    assert containers.program({"PATH": str(tmp_path)}) is None


def test_a_context_without_its_recipe_is_refused(tmp_path: Path) -> None:
    def refuse(dockerfile: str, words: str) -> None:
        asked = Environment(build=Build(path=tmp_path / "context", dockerfile=dockerfile))
        with pytest.raises(NotFound, match=words):
            list(prepare(tmp_path, asked))

    refuse("Dockerfile", "no folder '.*context' to build an image of")
    (tmp_path / "context").mkdir()
    refuse("Dockerfile", "no 'Dockerfile' in")
    refuse("other/File", "no 'other/File' in")
