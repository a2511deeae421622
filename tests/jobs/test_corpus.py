"""The differential test: for every file and every small mistake in one, we say what the real azure-ai-ml says.

Read strictly, our verdict is the package's, minus `MISSED`: what it takes and cannot be right. Read as usual, we take
what `LENIENT` names too, and say so. Both lists have their reasons and no entry that no file shows.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.files import read
from jobs.files.kinds import KINDS
from tests.jobs import mutations, verdicts
from tests.jobs.verdicts import CORPUS, Azure, Ours
from workspace.errors import Invalid

MISSED = {
    "undeclared": "a name in an expression that nobody has declared fails when the command runs",
    "missing-data": "local data that is not there is found when it is uploaded",
    "missing-script": "a script that is not there fails when the step runs",
    "fraction": "the package cuts 1.5 instances down to 1",
    "image-and-build": "the service refuses it",
    "empty-environment": "the service refuses it",
    "empty-command": "there is nothing to run",
    "limit-without-room": "a limit of nothing lets nothing through",
    "grid-continuous": "the service refuses it",
    "bayesian-distribution": "the service refuses it",
    "bandit-slack": "the service refuses it",
    "empty-search": "there is nothing to search",
    "empty-space": "there is nothing to choose from",
    "early-termination": "the service refuses it",
    "truncation-percentage": "the service refuses it",
    "circle": "steps that wait for each other never begin",
    "no-such-port": "an input that a component does not have is dropped silently",
    "port-type": "what comes does not fit what is taken",
    "empty-step": "the package takes {} for a parallel step",
    "default-out-of-range": "a default that the port itself refuses",
    "no-training-data": "there is nothing to learn from",
    "no-path": "there is nothing to keep",
    "no-transformation": "a step from files to a table has one name",
    "not-a-file": "the service refuses it",
    "not-a-folder": "the service refuses it",
    "no-cron": "the service refuses it",
    "no-interval": "the service refuses it",
    "no-such-time": "the service refuses it",
    "no-time-zone": "the service refuses it",
    "no-entry-script": "there is nothing to run",
    "no-task": "there is nothing to run",
    "input-missing": "a component needs it, and the package looks at some of them only",
}
LENIENT = {
    "number-for-text": "B0: numbers given for text are written out; the package does so for versions alone",
    "no-environment": "a command runs in Studiolo's own Python where it names none",
    "typed-input": "B0: inputs of jobs may be typed literals; the package knows them of components alone",
    "key-of-ours": "descriptions of inputs and outputs, and keys that the package has a schema for and then drops",
    "case": "B0: words are read in any case",
    "component-name": "B7.2: published components have hyphens in their names",
    "bare-name": "B0: a compute may be named without azureml:",
    "bound-in-place": "an expression may stand for any value of a step, also of one written in place",
    "truth-in-choice": "a choice of true and false is a choice",
    "no-compute": "a step without compute runs on this machine",
    "changed-job": "B5: what a schedule changes may be a command or Spark",
    "hdfs": "B2 has it",
    "no-replication": "B2: a registry needs a location alone",
    "collected-data": "B5: production data is what the deployment has collected where nothing is said",
}
CASES = [pytest.param(kind, path, id=verdicts.name(path)) for kind, path in verdicts.files()]


@cache
def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(verdicts.RECORDED.read_text())
    return found


def agree(accepted: bool, ours: Ours) -> bool:
    """Return whether our strict verdict is the package's, minus what it misses."""
    if not accepted:
        return ours.refused
    return not ours.refused or bool(ours.rules and ours.rules <= MISSED.keys())


def test_there_is_a_corpus_of_every_kind() -> None:
    kinds = [kind for kind, _ in verdicts.files()]
    assert set(kinds) == set(KINDS)
    assert len(kinds) >= 150
    said = recorded()["files"]
    assert set(said) == {verdicts.name(path) for _, path in verdicts.files()}, "run `make verdicts`"
    assert 0.3 < sum(reason is None for reason in said.values()) / len(said) < 0.7


@pytest.mark.parametrize(("kind", "path"), CASES)
def test_our_verdict_on_a_file_is_the_package_s(kind: str, path: Path) -> None:
    reason = recorded()["files"][verdicts.name(path)]
    ours = verdicts.ours(kind, path)
    assert agree(reason is None, ours), f"the package: {reason or 'accepted'}; we: {ours.why or 'accepted'}"


@pytest.mark.parametrize(("kind", "path"), CASES)
def test_our_verdict_on_a_small_mistake_is_the_package_s(kind: str, path: Path, scratch: Path) -> None:
    for number, letter in enumerate(recorded()["mutations"][verdicts.name(path)]):
        root = verdicts.mutated(path, number)
        if root is None:
            continue
        changed = scratch / kind / "mutated.yml"
        mutations.write(root, changed)
        ours = verdicts.ours(kind, changed)
        assert agree(letter == "a", ours), f"{number}: the package: {letter}; we: {ours.why}; {json.dumps(root)}"


@pytest.mark.parametrize(("kind", "path"), [case for case in CASES if "/missed_" in str(case.id)])
def test_what_the_package_misses_we_refuse_with_its_line(kind: str, path: Path) -> None:
    assert recorded()["files"][verdicts.name(path)] is None
    with pytest.raises(Invalid) as caught:
        read(kind, path)
    assert caught.value.at is not None
    assert caught.value.at.line is not None


def test_every_reason_is_shown_by_a_file() -> None:
    missed: set[str] = set()
    lenient: set[str] = set()
    for kind, path in verdicts.files():
        ours = verdicts.ours(kind, path)
        if recorded()["files"][verdicts.name(path)] is None:
            missed |= ours.rules
            continue
        try:
            lenient |= {each.rule for each in read(kind, path).findings if each.weight == "leniency"}
        except Invalid:
            continue
    assert missed == set(MISSED)
    assert lenient == set(LENIENT)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the corpus, in which files may be written."""
    folder = tmp_path_factory.mktemp("corpus")
    shutil.copytree(CORPUS, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def azure(request: pytest.FixtureRequest) -> Iterator[Azure]:
    """The real package, or a skip that says why it cannot be had."""
    try:
        with verdicts.azure(request.config.cache.mkdir("azure-ai-ml")) as found:
            yield found
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        pytest.skip(f"{verdicts.PACKAGE} cannot be installed here: {error}")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_real_package_says_what_is_recorded(azure: Azure, tmp_path: Path) -> None:
    again = verdicts.record(azure, tmp_path)
    said = recorded()
    assert {key: reason is None for key, reason in again["files"].items()} == {
        key: reason is None for key, reason in said["files"].items()
    }
    assert again["mutations"] == said["mutations"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_real_package_and_we_agree_on_mistakes_nobody_has_seen(azure: Azure, scratch: Path) -> None:
    roots = [(kind, path, root) for kind, path in verdicts.files() if (root := mutations.root_of(path))]

    @settings(max_examples=1_500, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(index=st.integers(0, len(roots) - 1), seed=st.integers(0, 2**32))
    def hold(index: int, seed: int) -> None:
        kind, path, root = roots[index]
        changed = scratch / kind / "mutated.yml"
        mutated = mutations.mutate(root, random.Random(seed))  # noqa: S311  no secret
        mutations.write(mutated, changed)
        reason, ours = azure.verdict(kind, changed), verdicts.ours(kind, changed)
        assert agree(reason is None, ours), f"{path.name}: {json.dumps(mutated)}: {reason}; we: {ours.why}"

    found: Callable[[], None] = hold
    found()
