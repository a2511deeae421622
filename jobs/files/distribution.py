"""How a job is spread over processes and nodes: PyTorch, MPI, TensorFlow, Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from jobs.files.record import Record
from jobs.files.shapes import ByKind


@dataclass(frozen=True, slots=True, kw_only=True)
class PyTorch:
    """One process group over all nodes, as torchrun makes it."""

    type: Literal["pytorch"]
    process_count_per_instance: Annotated[int | None, "Processes a node; 1 where it is not said."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mpi:
    """Processes started by mpirun."""

    type: Literal["mpi"]
    process_count_per_instance: Annotated[int | None, "Processes a node."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFlow:
    """Workers and parameter servers that find each other in TF_CONFIG."""

    type: Literal["tensorflow"]
    worker_count: Annotated[int | None, "As many as there are nodes where it is not said."] = None
    parameter_server_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RayCluster:
    """A Ray head on the first node, workers on the others; the command runs on the head."""

    type: Literal["ray"]
    port: int | None = None
    address: Annotated[str | None, "A cluster that is there already."] = None
    include_dashboard: bool | None = None
    dashboard_port: int | None = None
    head_node_additional_args: str | None = None
    worker_node_additional_args: str | None = None


Distribution = PyTorch | Mpi | TensorFlow | RayCluster

_KINDS = {"pytorch": PyTorch, "mpi": Mpi, "tensorflow": TensorFlow, "ray": RayCluster}
DISTRIBUTION = ByKind({kind: Record(made) for kind, made in _KINDS.items()})
# In components Azure ML takes further keys too.
DISTRIBUTED_OPENLY = ByKind({kind: Record(made, open=True) for kind, made in _KINDS.items()})
Distributed = Annotated[Distribution | None, DISTRIBUTION, "Several processes or nodes."]
