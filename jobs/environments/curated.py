"""Curated environments by name, each with the Python and the packages of which its lock was made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.environments.spec import Spec
from workspace.errors import Invalid, NotFound, did_you_mean

LOCKS = Path(__file__).with_name("locks")
GPU = Path("/dev/nvidiactl")

_USUAL = ("mlflow-skinny<3", "inference-schema", "requests", "pyyaml", "psutil", "tqdm")
_TABLES = ("joblib", "matplotlib", "pyarrow", *_USUAL)
_TORCH = ("tensorboard", "pillow", "pandas", "scikit-learn", "matplotlib", *_USUAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curated:
    """A name, all names that begin with it, and what it stands for; `also` are older names of the same."""

    name: str
    python: str
    packages: tuple[str, ...]
    also: tuple[str, ...] = ()
    gpu: tuple[str, ...] = ()  # installed as well where the machine has a GPU


def _torch(version: str, torch: str, vision: str, *, python: str = "3.10", numpy: str = "numpy<2") -> Curated:
    packages = (f"torch=={torch}", f"torchvision=={vision}", numpy, *_TORCH)
    return Curated(name=f"acpt-pytorch-{version}", python=python, packages=packages, also=(f"pytorch-{version}",))


def _minimal(python: str) -> Curated:
    packages = ("numpy", "joblib", "requests", "pyyaml", "inference-schema")
    return Curated(name=f"minimal-py{python.replace('.', '')}", python=python, packages=packages)


def _mlflow(python: str, mlflow: str = "mlflow<3") -> Curated:
    packages = (mlflow, "scikit-learn", "pandas", "numpy", "joblib", "cloudpickle", "psutil", "inference-schema")
    return Curated(name=f"mlflow-py{python.replace('.', '')}", python=python, packages=packages)


CURATED = (
    Curated(
        name="sklearn-1.5", python="3.10",
        packages=("scikit-learn~=1.5.0", "pandas~=1.5.3", "numpy~=1.22.0", "scipy~=1.10.0", "joblib~=1.2.0",
                  "matplotlib~=3.5.0", "psutil~=5.8", *_TABLES),
    ),
    Curated(
        name="sklearn-1.1", python="3.9",
        packages=("scikit-learn~=1.1.0", "pandas~=1.3.0", "numpy~=1.22.0", "scipy~=1.10.0", "joblib~=1.2.0",
                  "matplotlib~=3.5.0", *_TABLES),
    ),
    Curated(
        name="sklearn-1.0", python="3.8",
        packages=("scikit-learn~=1.0.0", "pandas~=1.3.0", "numpy~=1.22.0", "scipy~=1.7.0", "joblib~=1.2.0",
                  "matplotlib~=3.5.0", *_TABLES),
    ),
    Curated(
        name="sklearn-0.24", python="3.7",
        packages=("scikit-learn~=0.24.1", "pandas~=1.1.0", "numpy~=1.18.0", "scipy~=1.5.0", "joblib~=1.0",
                  "matplotlib~=3.3.0", *_TABLES),
    ),
    Curated(
        name="lightgbm-3.3", python="3.10",
        packages=("lightgbm>=4.6", "xgboost~=1.7.6", "scikit-learn~=1.5.1", "pandas~=1.5.3", "numpy~=1.22.0",
                  "scipy~=1.10.0", "matplotlib~=3.5.0", *_TABLES),
        also=("lightgbm",),
    ),
    Curated(
        name="lightgbm-3.2", python="3.7",
        packages=("lightgbm~=3.2.0", "xgboost~=1.4.2", "scikit-learn~=0.24.1", "pandas~=1.1.0", "numpy~=1.18.0",
                  "scipy~=1.5.0", "matplotlib~=3.3.0", *_TABLES),
    ),
    Curated(
        name="xgboost-0.9", python="3.7",
        packages=("xgboost==0.90", "scikit-learn~=0.23.2", "pandas~=1.1.0", "numpy~=1.18.0", "scipy~=1.5.0", *_TABLES),
    ),
    Curated(
        name="tensorflow-2.16", python="3.10", gpu=("tensorflow[and-cuda]==2.16.2",),
        packages=("tensorflow==2.16.2", "tf-keras==2.16.0", "pandas~=2.2.2", "numpy<2", "scipy~=1.14.0",
                  "matplotlib~=3.5.0", "tensorflow-datasets~=4.9.0", *_TABLES),
    ),
    Curated(
        name="tensorflow-2.12", python="3.8",
        packages=("tensorflow~=2.12.0", "pandas~=1.3.0", "numpy~=1.22.0", "scipy~=1.7.0", "matplotlib~=3.5.0",
                  *_TABLES),
    ),
    Curated(
        name="tensorflow-2.11", python="3.8",
        packages=("tensorflow~=2.11.0", "pandas~=1.3.0", "numpy~=1.22.0", "scipy~=1.7.0", "matplotlib~=3.5.0",
                  *_TABLES),
    ),
    Curated(
        name="tensorflow-2.8", python="3.8", also=("tensorflow-2.7",),
        packages=("tensorflow~=2.8.0", "protobuf<3.21", "pandas~=1.3.0", "numpy~=1.22.0", "scipy~=1.7.0",
                  "matplotlib~=3.5.0", *_TABLES),
    ),
    _torch("2.8", "2.8.0", "0.23.0"), _torch("2.7", "2.7.1", "0.22.1"), _torch("2.5", "2.5.1", "0.20.1"),
    _torch("2.4", "2.4.1", "0.19.1"), _torch("2.3", "2.3.1", "0.18.1"), _torch("2.2", "2.2.2", "0.17.2"),
    _torch("2.1", "2.1.2", "0.16.2"), _torch("2.0", "2.0.1", "0.15.2", python="3.8"),
    _torch("1.13", "1.13.1", "0.14.1", python="3.8"), _torch("1.12", "1.12.1", "0.13.1", python="3.8"),
    _torch("1.11", "1.11.0", "0.12.0", python="3.8"), _torch("1.10", "1.10.2", "0.11.3", python="3.8"),
    _torch("1.9", "1.9.1", "0.10.1", python="3.7"),
    Curated(
        name="responsibleai-tabular", python="3.10", also=("responsibleai",),
        packages=("responsibleai~=0.36.0", "raiwidgets~=0.36.0", "scikit-learn~=1.5.1", "markupsafe<=2.1.2",
                  "itsdangerous<=2.1.2", "plotly==5.6.0", "mlflow<3", "pyarrow", "requests", "pyyaml"),
    ),
    _minimal("3.8"), _minimal("3.9"), _minimal("3.10"), _minimal("3.11"), _minimal("3.12"),
    _mlflow("3.8"), _mlflow("3.9"), _mlflow("3.12", "mlflow"),
    Curated(
        name="python-sdk-v2", python="3.10",
        packages=("azure-ai-ml", "azure-identity", "pandas", "scikit-learn", "matplotlib", *_USUAL),
    ),
)  # fmt: skip

# What nobody outside the cloud can have, and what to do instead.
PRIVATE: Mapping[str, str] = {
    r"(ai-ml-|aml-|azure-ai-al-)?automl.*": "a job of type automl needs no environment",
    r"(acft|acpt-(draft|grpo|rft|verl|trl)|foundation-model|model-management|model-evaluation).*": (
        "name the packages: image and conda_file; a finetuning job needs no environment"
    ),
    r"(text-generation-inference|ds-mii|vllm|triton|nvidia-nim).*": "serve the model by an engine of Studiolo's",
    r"(promptflow|python-flow).*": "flows need no environment: studiolo flow run",
    r"designer.*|vowpalwabbit.*": "name the packages: image and conda_file",
}
_TAG = re.compile(r"py(3)(\d+)")


def find(name: str) -> Curated | None:
    """Return the curated environment of this name: `find("AzureML-sklearn-1.0-ubuntu20.04-py38-cpu")`."""
    clean = name.lower().removeprefix("azureml-")
    if kind := next((kind for kind in ("minimal", "mlflow") if clean.startswith(f"{kind}-")), None):
        tag = _TAG.search(clean)
        clean = f"{kind}-py{tag[1]}{tag[2]}" if tag else f"{kind}-py310"
    # `sklearn-1.0-ubuntu20.04-py38-cpu` is a sklearn-1.0, `sklearn-0.24.1-…` a 0.24, `sklearn-1.10` no 1.1.
    fitting = [
        (len(known), each)
        for each in CURATED
        for known in (each.name, *each.also)
        if clean == known or (clean.startswith(known) and not clean[len(known)].isdigit())
    ]
    return max(fitting, key=lambda found: found[0])[1] if fitting else None


def spec(curated: Curated, *, asked: str = "") -> Spec:
    """Return the lock of a curated environment; `asked` is the name it was asked for by."""
    lines = (LOCKS / f"{curated.name}.txt").read_text(encoding="utf-8").splitlines()
    packages = tuple(line for line in lines if line and not line.startswith("#"))
    tag = _TAG.search(asked.lower())
    other = f"{tag[1]}.{tag[2]}" if tag else curated.python
    said = () if other == curated.python else (f"{asked} is kept for Python {curated.python}, not {other}",)
    return Spec(python=curated.python, packages=packages + (curated.gpu if GPU.exists() else ()), said=said)


def missing(name: str) -> Invalid | NotFound:
    """Return the error for a name that is not in the table: private, or unknown."""
    clean = name.lower().removeprefix("azureml-")
    for pattern, instead in PRIVATE.items():
        if re.fullmatch(pattern, clean):
            return Invalid(f"environment {name!r} is a private runtime of the cloud", hint=instead)
    if re.fullmatch(r"(.*-)?(r|julia)(-.*)?", clean):
        return Invalid(f"environment {name!r} is not one of Python, which alone can be had here")
    known = did_you_mean(clean, [each.name for each in CURATED])
    return NotFound(f"no environment {name!r}, neither kept in the workspace nor curated", hint=known)
