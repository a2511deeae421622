"""Environments made once and kept: under concurrency, after kills, on other Pythons, with a job's own layer on top."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from jobs.environments import Event, Prepared, Preparing, Waiting, find, layer, prepare, store, variables
from jobs.environments import pythons as known_pythons
from jobs.files.environment import Environment
from tests.jobs.wheels import compiled_wheel, environment, slow_package, wheel
from workspace.errors import Invalid, NotFound

OFFLINE = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
OTHERS = [minor for minor in known_pythons.found(os.environ) if minor != known_pythons.OWN]
OWN = known_pythons.text(known_pythons.OWN)
LONG = 60.0


def made(cache: Path, asked: Environment) -> Prepared:
    last = list(prepare(cache, asked, environ=OFFLINE))[-1]
    assert isinstance(last, Prepared)
    return last


def says(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder with a wheel of `tinything`."""
    wheel(tmp_path / "wheels")
    return tmp_path / "wheels"


def test_an_environment_is_made_once_and_found_in_milliseconds(tmp_path: Path, wheels: Path) -> None:
    asked = environment(wheels, "tinything")
    assert find(tmp_path, asked) is None
    events = list(prepare(tmp_path, asked))
    assert isinstance(events[0], Preparing)
    assert "tinything" in events[0].text
    prepared = events[-1]
    assert isinstance(prepared, Prepared)
    assert says(prepared.python, "import tinything; print(tinything.VERSION)") == "1.0"
    assert list(prepare(tmp_path, asked)) == [prepared]
    rounds = []
    for _ in range(20):
        began = time.perf_counter()
        assert find(tmp_path, asked) == prepared
        rounds.append(time.perf_counter() - began)
    assert sorted(rounds)[10] < 0.01


def test_it_holds_nothing_of_ours(tmp_path: Path, wheels: Path) -> None:
    prepared = made(tmp_path, environment(wheels, "tinything"))
    assert says(prepared.python, "import importlib.util as u; print(u.find_spec('typer'))") == "None"


@pytest.mark.parametrize(
    "lines",
    [("Tiny_Thing>=1,<2", "other"), ("other", "tiny-thing <2, >=1"), ("tiny.thing<2,>=1 # a word", "other", "other")],
)
def test_the_same_packages_are_the_same_environment_however_written(tmp_path: Path, lines: tuple[str, ...]) -> None:
    folder = tmp_path / "wheels"
    wheel(folder, "tiny_thing")
    wheel(folder, "other")
    first = made(tmp_path, environment(folder, "tiny-thing>=1,<2", "other"))
    assert find(tmp_path, environment(folder, *lines)) == first
    assert find(tmp_path, environment(folder, "tiny-thing>=1", "other")) is None


def test_a_changed_file_makes_another_environment(tmp_path: Path, wheels: Path) -> None:
    written = tmp_path / "requirements.txt"
    written.write_text(f"--no-index\n{wheels / 'tinything-1.0-py3-none-any.whl'}\n")
    first = made(tmp_path, Environment.of_requirements(written))
    assert find(tmp_path, Environment.of_requirements(written)) == first
    wheel(wheels, needs=["tinything"])  # the same name, another content
    assert find(tmp_path, Environment.of_requirements(written)) is None


def test_what_is_in_it_is_known(tmp_path: Path, wheels: Path) -> None:
    prepared = made(tmp_path, environment(wheels, "tinything"))
    ((folder, record),) = store.kept(tmp_path)
    assert (folder, record.packages, record.python) == (
        prepared.folder,
        ("tinything==1.0",),
        OWN,
    )
    assert store.remove(tmp_path, record.key) == 1
    assert (store.kept(tmp_path), find(tmp_path, environment(wheels, "tinything"))) == ([], None)
    with pytest.raises(NotFound, match="no environment"):
        store.remove(tmp_path, record.key)


def test_many_at_once_make_it_once(tmp_path: Path, wheels: Path) -> None:
    script = (
        "import sys, pathlib\nfrom jobs.environments import prepare\nfrom tests.jobs.wheels import environment\n"
        "folder, cache = map(pathlib.Path, sys.argv[1:])\n"
        "for event in prepare(cache, environment(folder, 'tinything')): print(event)\n"
    )
    command = [sys.executable, "-c", script, str(wheels), str(tmp_path / "cache")]

    def one(_: int) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(one, range(6)))
    assert sum("making an environment" in each for each in said) == 1
    assert len({each.splitlines()[-1] for each in said}) == 1


def test_one_who_waits_is_told_so(tmp_path: Path, wheels: Path) -> None:
    asked = environment(wheels, "tinything")
    key = made(tmp_path, asked).folder.name.rpartition("-")[0]
    store.remove(tmp_path, key)
    taking = store.take(tmp_path, key)
    with pytest.raises(StopIteration) as taken:
        next(taking)
    events = prepare(tmp_path, asked)
    assert isinstance(next(events), Waiting)
    store.give_back(taken.value.value)
    assert isinstance(list(events)[-1], Prepared)


@pytest.fixture
def building(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that makes an environment, in the midst of it."""
    slow_package(tmp_path / "slow")
    script = (
        "import sys, pathlib\nfrom jobs.environments import prepare\nfrom tests.jobs.wheels import environment\n"
        "folder, cache = map(pathlib.Path, sys.argv[1:])\n"
        "for event in prepare(cache, environment(folder, './slow')): print(event, flush=True)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path), str(tmp_path / "cache")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + LONG
        while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (tmp_path / "begun").exists()
        started = psutil.Process(process.pid).children(recursive=True)
        yield process
        process.kill()
    for each in started:  # uv ends by itself when it is done; no test waits for that
        if each.is_running():
            each.kill()


def test_a_killed_maker_leaves_nothing_that_is_used(tmp_path: Path, building: subprocess.Popen[str]) -> None:
    cache, asked = tmp_path / "cache", environment(tmp_path, "./slow")
    assert [path.name[0] for path in store.root(cache).iterdir() if path.is_dir()] == ["."]
    building.send_signal(signal.SIGKILL)
    building.wait()
    assert (find(cache, asked), store.kept(cache)) == (None, [])
    (tmp_path / "quick").touch()
    began = time.monotonic()
    assert says(made(cache, asked).python, "import slow; print('whole')") == "whole"
    assert time.monotonic() - began < LONG / 2  # it did not wait for what the killed one had started


def test_whoever_stops_listening_stops_the_work(tmp_path: Path) -> None:
    slow_package(tmp_path / "slow")
    before = psutil.Process().children(recursive=True)
    events = prepare(tmp_path / "cache", environment(tmp_path, "./slow"))
    for event in events:
        if (tmp_path / "begun").exists() and isinstance(event, Waiting):
            break
    started = [each for each in psutil.Process().children(recursive=True) if each not in before]
    events.close()  # type: ignore[attr-defined]
    assert started
    assert not [each for each in started if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    assert [path for path in store.root(tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_an_environment_whose_python_is_gone_is_made_anew(tmp_path: Path, wheels: Path) -> None:
    asked = environment(wheels, "tinything")
    prepared = made(tmp_path, asked)
    prepared.python.unlink()
    prepared.python.symlink_to("/nowhere/python")
    assert find(tmp_path, asked) is None
    assert says(made(tmp_path, asked).python, "import tinything; print('back')") == "back"


@pytest.mark.skipif(not OTHERS, reason="there is one Python on this machine")
def test_the_asked_python_is_taken(tmp_path: Path, wheels: Path) -> None:
    for minor in OTHERS:
        asked = environment(wheels, "tinything", python=known_pythons.text(minor))
        prepared = made(tmp_path, asked)
        assert says(prepared.python, "import sys; print(sys.version_info[:2])") == str(minor)
        assert prepared.said == ()


def test_a_python_that_is_not_here_is_replaced_by_the_nearest_and_that_is_said(tmp_path: Path, wheels: Path) -> None:
    asked = environment(wheels, "tinything", python="3.17")
    newest = known_pythons.text(max(known_pythons.found(os.environ)))
    said = f"Python 3.17 is asked for and cannot be had on this machine: Python {newest} is used"
    assert made(tmp_path, asked).said == (said,)
    found = find(tmp_path, asked)
    assert found
    assert found.said == (said,)  # each time, not only when it was made


def test_a_python_that_cannot_be_fetched_is_told(tmp_path: Path, wheels: Path) -> None:
    events = list(prepare(tmp_path, environment(wheels, "tinything", python="3.17")))
    told = [event.text for event in events if isinstance(event, Preparing)]
    assert "fetching Python 3.17" in told
    assert any("Python 3.17 cannot be fetched" in text for text in told)
    assert isinstance(events[-1], Prepared)


def test_a_python_that_came_since_is_taken(tmp_path: Path, wheels: Path) -> None:
    asked = environment(wheels, "tinything", python="3.17")
    prepared = made(tmp_path, asked)
    place = tmp_path / "pythons" / "cpython-3.17.0-linux-x86_64-gnu" / "bin"
    place.mkdir(parents=True)
    (place / "python3").symlink_to(sys.executable)
    assert find(tmp_path, asked, environ=OFFLINE) == prepared
    assert find(tmp_path, asked, environ={**OFFLINE, "UV_PYTHON_INSTALL_DIR": str(tmp_path / "pythons")}) is None


@pytest.mark.skipif(not OTHERS, reason="there is one Python on this machine")
def test_packages_that_only_a_neighbour_has_are_taken_with_it(tmp_path: Path) -> None:
    minor = known_pythons.nearest("", OTHERS)[0]
    tag = f"cp3{minor[1]}-none-any"
    wheel(tmp_path / "wheels", "oldthing", tag=tag)
    asked = environment(tmp_path / "wheels", "oldthing==1.0", python=OWN)
    prepared = made(tmp_path, asked)
    assert says(prepared.python, "import oldthing, sys; print(sys.version_info[:2])") == str(minor)
    (said,) = prepared.said
    assert said.startswith(f"Python {known_pythons.text(minor)} is used instead of {OWN}: ")
    assert "oldthing" in said
    assert find(tmp_path, asked) == prepared


def test_where_no_python_has_a_wheel_the_nearest_newer_version_is_taken_and_that_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "wheels"
    wheel(folder, "oldthing", "1.0", tag="cp35-none-any")
    wheel(folder, "oldthing", "1.2")
    wheel(folder, "oldthing", "2.0")
    wheel(folder, "tinything", "1.0")
    wheel(folder, "tinything", "3.0")
    prepared = made(tmp_path, environment(folder, "oldthing==1.0", "tinything", python=OWN))
    assert prepared.said == (f"oldthing==1.0 cannot be had with the rest on Python {OWN}: 1.2 is used",)
    assert says(prepared.python, "import oldthing, tinything; print(oldthing.VERSION, tinything.VERSION)") == "1.2 3.0"


def test_pip_s_packages_win_over_conda_s_as_they_do_in_conda(tmp_path: Path) -> None:
    folder = tmp_path / "wheels"
    wheel(folder, "base", "1.0")
    wheel(folder, "base", "2.0")
    wheel(folder, "top", "1.0", needs=["base>=2"])
    prepared = made(tmp_path, environment(folder, "top", conda=["base=1.0"]))
    assert prepared.said == ("conda's base==1.0.* gave way to 2.0, which pip's packages need",)


OLD, NEW = b"..numpy.core._multiarray_umath..", b"..numpy._core._multiarray_umath..numpy.core._multiarray_umath.."


@pytest.mark.parametrize(
    ("content", "asked", "numpy", "said"),
    [
        (OLD, (), "1.26", "old_parts: compiled for numpy 1, which is used"),
        (NEW, (), "2.1", ""),
        (OLD, ("numpy>=2",), "2.1", "old_parts: compiled for numpy 1, and numpy 2 is used, so that importing may fail"),
    ],
)
def test_what_was_compiled_for_numpy_1_gets_it_unless_more_is_asked_for(
    tmp_path: Path, content: bytes, asked: tuple[str, ...], numpy: str, said: str
) -> None:
    folder = tmp_path / "wheels"
    for version in ("1.26", "2.1"):
        wheel(folder, "numpy", version)
    compiled_wheel(folder, "old", content)
    prepared = made(tmp_path / "cache", environment(folder, "numpy", "old", *asked))
    assert says(prepared.python, "import numpy; print(numpy.VERSION)") == numpy
    assert said in "".join(prepared.said)
    assert bool(prepared.said) is bool(said)


def test_a_package_that_exists_nowhere_is_one_line(tmp_path: Path, wheels: Path) -> None:
    with pytest.raises(Invalid, match=r"the environment cannot be made: .*no-such-thing") as refused:
        made(tmp_path, environment(wheels, "no-such-thing==1"))
    assert "\n" not in str(refused.value)
    assert [path for path in store.root(tmp_path).iterdir() if path.is_dir()] == []


def test_packages_that_contradict_each_other_are_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "wheels"
    wheel(folder, "base", "1.0")
    wheel(folder, "top", "1.0", needs=["base>=2"])
    with pytest.raises(Invalid, match=r"top.*base|base.*top") as refused:
        made(tmp_path, environment(folder, "top", "base==1.0"))
    assert "\n" not in str(refused.value)


@pytest.fixture(scope="module")
def with_pip(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """An environment of nothing but what commands usually call."""
    cache = tmp_path_factory.mktemp("cache")
    last = list(prepare(cache, Environment()))[-1]
    assert isinstance(last, Prepared)
    return last


def in_layer(prepared: Prepared, folder: Path, command: str) -> str:
    python = layer(prepared, folder)
    environ = variables(prepared, python, {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]})
    done = subprocess.run(["/bin/bash", "-c", command], env=environ, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def everything(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts)


def test_what_a_job_installs_is_seen_by_that_job_alone(tmp_path: Path, with_pip: Prepared) -> None:
    before = everything(with_pip.folder)
    package = wheel(tmp_path / "wheels")
    said = in_layer(with_pip, tmp_path / "one", f"pip install --no-index -q {package} && tinything && which python")
    assert said.splitlines() == [f"{tmp_path / 'one'} 1.0", str(tmp_path / "one" / "bin" / "python")]
    other = "python -c 'import tinything' 2>&1 || true"
    assert "No module named 'tinything'" in in_layer(with_pip, tmp_path / "two", other)
    assert before == everything(with_pip.folder)


def test_a_job_may_install_another_version_of_what_is_shared(tmp_path: Path) -> None:
    folder = tmp_path / "wheels"
    wheel(folder, version="1.0")
    wheel(folder, version="2.0")
    listed = {"dependencies": [{"pip": [str(folder / "tinything-1.0-py3-none-any.whl")]}]}
    prepared = made(tmp_path, Environment(conda=listed))
    newer = f"pip install --no-index -q {folder / 'tinything-2.0-py3-none-any.whl'} && tinything"
    assert in_layer(prepared, tmp_path / "job", newer) == f"{tmp_path / 'job'} 2.0"
    assert in_layer(prepared, tmp_path / "next", "tinything") == f"{tmp_path / 'next'} 1.0"


def test_a_layer_takes_milliseconds(tmp_path: Path, with_pip: Prepared) -> None:
    rounds = []
    for number in range(10):
        began = time.perf_counter()
        layer(with_pip, tmp_path / str(number))
        rounds.append(time.perf_counter() - began)
    assert sorted(rounds)[5] < 0.05


def test_a_layer_may_be_made_again_where_it_is(tmp_path: Path, with_pip: Prepared) -> None:
    in_layer(with_pip, tmp_path / "job", f"pip install --no-index -q {wheel(tmp_path / 'wheels')}")
    assert in_layer(with_pip, tmp_path / "job", "tinything") == f"{tmp_path / 'job'} 1.0"


def test_a_record_can_be_read_by_people(tmp_path: Path, wheels: Path) -> None:
    prepared = made(tmp_path, environment(wheels, "tinything"))
    assert json.loads((prepared.folder / store.READY).read_text())["packages"] == ["tinything==1.0"]


def test_events_are_what_they_are_said_to_be(tmp_path: Path, wheels: Path) -> None:
    events: list[Event] = list(prepare(tmp_path, environment(wheels, "tinything")))
    assert all(isinstance(event, Preparing | Waiting) for event in events[:-1])
    assert isinstance(events[-1], Prepared)


@pytest.mark.slow
def test_a_bare_python_is_to_be_had_without_a_network(tmp_path: Path) -> None:
    nowhere = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}
    nowhere["UV_CACHE_DIR"] = str(tmp_path / "packages")
    environ = {name: value for name, value in os.environ.items() if name not in ("PIP_FIND_LINKS", "UV_FIND_LINKS")}
    *_, bare = prepare(tmp_path / "cache", Environment(image=f"python:{OWN}"), environ=environ | nowhere)
    assert isinstance(bare, Prepared)
    (said,) = bare.said
    assert said.endswith("pip is the one that Python brings")
    assert says(bare.python, "import pip; print('pip')") == "pip"
