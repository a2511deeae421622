"""How an engine is launched: what its file says of the command, where it listens, when it is ready, what it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workspace.errors import Invalid

CPU, CUDA = "cpu", "cuda"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One engine process to start.

    It listens on a unix socket given by `socket_option`; where that is empty, on the loopback port given by
    `port_option`, with a private key that it finds in the variable `key_variable`. It is ready when `health` answers
    200, for which it has `loading` seconds. It takes `memory` bytes of `device`. Where it can `sleep`, that path gives
    most of them back and `wake` takes them again.
    """

    command: Sequence[str]
    memory: int
    device: str = CPU
    environment: Mapping[str, str] = field(default_factory=dict)
    socket_option: str = "--socket"
    port_option: str = "--port"
    key_variable: str = ""
    host: str = "engine"  # what requests name as their host
    health: str = "/health"
    loading: float = 120.0
    drain: float = 5.0  # seconds between SIGTERM and SIGKILL
    sleep: str = ""
    wake: str = ""
    adapters: Mapping[str, str] | None = None  # LoRA adapters that it starts with; None: it can load none as it runs

    def __post_init__(self) -> None:
        if not self.socket_option and not self.key_variable:
            raise Invalid("an engine on a port needs a key: anybody on this machine could ask it")


def asked(properties: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the properties of these names that are set."""
    return {name: properties[name] for name in names if properties.get(name)}


def option(name: str, value: Any) -> list[str]:
    """Return a property as an option: `option("max_model_len", 512) == ["--max-model-len", "512"]`; a switch by True.

    >>> option("enforce_eager", True), option("enforce_eager", False)
    (['--enforce-eager'], [])
    """
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag] if value else []
    return [flag, str(value)]


def inside(folder: Path, pattern: str, what: str) -> Path:
    """Return the one file of a folder that fits the pattern; Invalid where there is none or more than one."""
    found = sorted(folder.glob(pattern)) if folder.is_dir() else [folder]
    if len(found) != 1:
        raise Invalid(f"{folder.name} holds {len(found) or 'no'} {what}", hint=f"a model of this engine is one {what}")
    return found[0]
