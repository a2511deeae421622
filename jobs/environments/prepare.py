"""The door: an environment becomes a Python to run with, found in a millisecond or made once.

for event in prepare(cache, environment):
    ...  # the last one is Prepared
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

from jobs.environments import asked, java, pythons, spec, store
from jobs.environments.asked import Boxed
from jobs.environments.events import Event, Prepared, Preparing
from jobs.environments.spec import Spec
from jobs.environments.store import Record
from jobs.files.environment import Environment


def find(cache: Path, environment: Environment, *, environ: Mapping[str, str] | None = None) -> Prepared | None:
    """Return what the environment was made into before; None where it is still to be made.

    `environ` says where Pythons, Java and docker are looked for, and is this process's own where nothing is given.
    """
    variables = os.environ if environ is None else environ
    wanted = asked.of(environment)
    if isinstance(wanted, Boxed):
        from jobs.environments import containers  # late: few environments are images

        return containers.find(wanted, variables)
    return find_packages(cache, wanted, environ=variables)


def prepare(cache: Path, environment: Environment, *, environ: Mapping[str, str] | None = None) -> Iterator[Event]:
    """Find or make the environment; the last event is Prepared. However many ask at once, it is made once."""
    variables = os.environ if environ is None else environ
    wanted = asked.of(environment)
    if isinstance(wanted, Boxed):
        from jobs.environments import containers

        yield from containers.prepare(wanted, variables)
    else:
        yield from prepare_packages(cache, wanted, environ=variables)


def find_packages(cache: Path, wanted: Spec, *, environ: Mapping[str, str] | None = None) -> Prepared | None:
    """Return the environment that has these packages, if it was made."""
    variables = os.environ if environ is None else environ
    wanted = java.with_java(wanted, variables)
    folder = store.find(cache, wanted, variables)
    return _prepared(folder, wanted) if folder else None


def prepare_packages(cache: Path, wanted: Spec, *, environ: Mapping[str, str] | None = None) -> Iterator[Event]:
    """Find or make an environment of these packages; the last event is Prepared."""
    variables = os.environ if environ is None else environ
    wanted = java.with_java(wanted, variables)
    folder = store.find(cache, wanted, variables)
    if folder is None:
        key = spec.key(wanted)
        lock = yield from store.take(cache, key)
        try:
            folder = store.find(cache, wanted, variables)
            if folder is None:
                folder = yield from _make(cache, key, wanted, variables)
        finally:
            store.give_back(lock)
    yield _prepared(folder, wanted)


def _make(cache: Path, key: str, wanted: Spec, environ: Mapping[str, str]) -> Generator[Event, None, Path]:
    from jobs.environments import attempts  # late: who only looks an environment up needs it not

    began = time.monotonic()
    names = ", ".join(wanted.all_packages[:3]) or "no packages"
    yield Preparing(f"making an environment of {names}{' …' if len(wanted.all_packages) > 3 else ''}")
    with store.fresh(cache, key) as temporary:
        made = yield from attempts.realise(wanted, temporary, environ)
        target = store.place(cache, key, made.minor)
        record = Record(
            key=key, python=pythons.text(made.minor), asked=wanted.python, missing=made.missing,
            said=made.said, packages=store.installed(temporary), made_at=time.time(),
            seconds=round(time.monotonic() - began, 1),
        )  # fmt: skip
        store.keep(temporary, target, record)
    return target


def _prepared(folder: Path, wanted: Spec) -> Prepared:
    store.used(folder)
    said = (*wanted.said, *store.read(folder).said)
    return Prepared(python=store.python_of(folder), folder=folder, said=said)
