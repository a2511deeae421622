"""Names of packages: conda's that pip calls otherwise or has not, and Azure's own that others stand in for."""

from __future__ import annotations

from collections.abc import Mapping

PIP_NAMES: Mapping[str, str] = {
    "pytorch": "torch", "pytorch-cpu": "torch", "pytorch-gpu": "torch",
    "py-xgboost": "xgboost", "py-xgboost-cpu": "xgboost", "py-xgboost-gpu": "xgboost", "py-lightgbm": "lightgbm",
    "opencv": "opencv-python-headless", "py-opencv": "opencv-python-headless",
    "tensorflow-base": "tensorflow", "tensorflow-gpu": "tensorflow", "tensorflow-cpu": "tensorflow",
    "msgpack-python": "msgpack", "pytables": "tables", "matplotlib-base": "matplotlib", "dask-core": "dask",
    "faiss": "faiss-cpu", "python-graphviz": "graphviz", "pyqt": "pyqt5", "seaborn-base": "seaborn",
    "ruamel_yaml": "ruamel.yaml", "python-tzdata": "tzdata", "brotlipy": "brotli", "uvicorn-standard": "uvicorn",
}  # fmt: skip

# What comes with Python, with its wheels or with the machine.
WITHOUT_PACKAGE = frozenset({
    "pip", "python_abi", "cudatoolkit", "cudatoolkit-dev", "cudnn", "nccl", "cpuonly", "pytorch-cuda", "pytorch-mutex",
    "cuda", "cuda-toolkit", "cuda-runtime", "cuda-version", "mkl", "blas", "openblas", "intel-openmp", "tk", "zlib",
    "openssl", "ca-certificates", "ncurses", "readline", "sqlite", "xz", "bzip2", "ld_impl_linux-64", "krb5", "icu",
    "freetype", "jpeg", "lcms2", "zstd", "lz4-c", "snappy", "tzdata", "binutils", "sysroot_linux-64", "conda",
})  # fmt: skip
LIBRARIES_OF_PYTHON = frozenset({"librosa", "libcst", "libpysal", "libsass", "libsvm", "libtmux", "libarchive-c"})

# Programs, not Python: the machine has them or it has not.
PROGRAMS = frozenset({
    "gcc", "gxx", "gcc_linux-64", "gxx_linux-64", "gfortran", "compilers", "make", "git", "git-lfs", "ffmpeg", "nodejs",
    "openmpi", "mpich", "graphviz", "curl", "wget", "unixodbc", "tesseract", "poppler", "ghostscript", "imagemagick",
    "maven", "go", "rust", "nano", "vim", "rsync", "htop", "tmux", "azure-cli", "pandoc", "samtools", "bedtools",
})  # fmt: skip

# Closed, dead or of the cloud alone: Studiolo's own modules stand in for them, and these packages, which they bring.
STOOD_IN: Mapping[str, tuple[str, ...]] = {
    "azureml-mlflow": ("mlflow-skinny<3",),
    "azureml-core": ("requests", "pyyaml"),
    "azureml-sdk": ("requests", "pyyaml"),
    "azureml-defaults": ("requests", "pyyaml"),
    "azureml-telemetry": (),
    "azureml-dataset-runtime": ("pandas", "pyarrow"),
    "azureml-dataprep": ("pandas", "pyarrow"),
    "azureml-dataprep-rslex": (),
    "azureml-dataprep-native": (),
    "azureml-contrib-services": (),
    "azureml-ai-monitoring": ("pandas",),
    "azureml-fsspec": ("fsspec",),
    "mltable": ("pandas", "pyarrow", "pyyaml"),
}
MLFLOW = frozenset({"mlflow", "mlflow-skinny"})
