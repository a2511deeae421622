"""What an environment asks for: its conda file, its curated name or its image told as packages, or a container."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jobs.environments import conda, curated
from jobs.environments.conda import OTHER_LANGUAGE
from jobs.environments.spec import Spec
from jobs.files.environment import Build, Environment
from workspace.errors import Invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxed:
    """What only docker or podman can give: an image to be built, or one that is run as it is."""

    image: str = ""
    build: Build | None = None


_AZURE = re.compile(r"mcr\.microsoft\.com/azureml/(?:curated/)?(?P<name>[^:@]+)")
# Images that are a Linux and perhaps a Python: what is in them is for the conda file to say.
_BASE = re.compile(r"(intelmpi|openmpi|base|base-gpu|minimal-ubuntu\d|o16n-base/).*")
_UBUNTU = re.compile(r"ubuntu(\d\d)\.04")
_PYTHON_OF = {"16": "3.6", "18": "3.7", "20": "3.8", "22": "3.10", "24": "3.12"}
_PYTHON = re.compile(r"(?:docker\.io/)?(?:library/)?python(?::(?P<version>\d\.\d+))?.*")
_LINUX = re.compile(
    r"(?:docker\.io/)?(?:library/)?(ubuntu|debian|nvidia/cuda|continuumio/(mini|ana)conda3|mambaorg/micromamba|"
    r"conda(forge)?/mini(conda|forge)3|mcr\.microsoft\.com/(mirror/docker/library/)?(ubuntu|debian)).*"
)
_FRAMEWORK = re.compile(
    r"(?:docker\.io/)?(?P<family>pytorch|tensorflow)/(?:pytorch|tensorflow):(?P<version>\d+\.\d+)\..*"
)
_RAY = re.compile(r"(?:docker\.io/)?rayproject/ray(?:-ml)?:(?P<version>\d+\.\d+\.\d+)(?:\S*-py(?P<python>3\d+))?.*")
_R = re.compile(r"(^|/|-)(r-base|r-ver|rocker|rstudio|tidyverse|shiny)([/:-]|$)|[-/]r-[\w.]+|r-?\d\.\d")
_JULIA = re.compile(r"(^|/)julia(:|$)")


def of(environment: Environment) -> Spec | Boxed:
    """Return the packages, or the image that has to be built or run.

    Raises NotFound for a name that nobody knows, Invalid for what cannot be had here: R, Julia, a private runtime.
    """
    if environment.build is not None:
        return Boxed(build=environment.build)
    _refuse_other_languages(environment)
    if environment.conda is not None:
        return conda.spec(environment.conda, environment.folder, at=environment.at)
    if environment.image:
        return _of_image(environment.image)
    if environment.name:
        return _of_name(environment.name)
    return Spec()


def _of_name(name: str) -> Spec:
    found = curated.find(name)
    if found is None:
        raise curated.missing(name)
    return curated.spec(found, asked=name)


def _of_image(image: str) -> Spec | Boxed:
    if azure := _AZURE.match(image):
        name = azure["name"]
        if found := curated.find(name):
            return curated.spec(found, asked=name)
        if _BASE.fullmatch(name):
            ubuntu = _UBUNTU.search(name)
            return Spec(python=_PYTHON_OF.get(ubuntu[1], "") if ubuntu else "")
        raise curated.missing(name)
    if python := _PYTHON.fullmatch(image):
        return Spec(python=python["version"] or "")
    if _LINUX.fullmatch(image):
        return Spec(said=(f"image {image!r} is not used: this machine's own Linux is",))
    if framework := _FRAMEWORK.fullmatch(image):
        if found := curated.find(f"{framework['family']}-{framework['version']}"):
            return curated.spec(found)
        return Boxed(image=image)
    if ray := _RAY.fullmatch(image):
        python_version = f"3.{ray['python'][1:]}" if ray["python"] else ""
        return Spec(python=python_version, packages=(f"ray[default]=={ray['version']}",))
    return Boxed(image=image)


def _refuse_other_languages(environment: Environment) -> None:
    for written in (environment.image or "", "" if environment.conda else environment.name or ""):
        language = "R" if _R.search(written.lower()) else "Julia" if _JULIA.search(written.lower()) else ""
        if language and not (curated.find(written) or _FRAMEWORK.fullmatch(written)):
            what = f"the environment is one of {language} ({written}), which cannot be had here"
            raise Invalid(what, hint=OTHER_LANGUAGE, at=environment.at)
