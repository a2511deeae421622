"""Settings: one frozen value, each field an environment variable. Nothing else reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from workspace.errors import Invalid

PREFIX = "STUDIOLO_"
_USUAL = {
    "mlflow_tracking_uri": "MLFLOW_TRACKING_URI",
    "ray_address": "RAY_API_SERVER_ADDRESS",
    "ray_token_file": "RAY_AUTH_TOKEN_PATH",
    "line_concurrency": "PF_WORKER_COUNT",
    "line_timeout": "PF_LINE_TIMEOUT_SEC",
    "batch_timeout": "PF_BATCH_TIMEOUT_SEC",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this process behaves. Field `gateway_port` is the variable `STUDIOLO_GATEWAY_PORT`, and so on.

    `home` is the workspace directory (default `.studiolo` under the current directory) and `database_url` a
    PostgreSQL URL for teams. The ports are those of the four services on 127.0.0.1. `model` and `embedder` name
    the models served where nothing else is asked for. `threads` are the compute threads of one engine (0: as many as
    there are free cores), `dtype` its number format ("auto": the faster one here); `engine_memory` the megabytes that
    all engines may take together (0: what the machine has left). `traces` is the percent of requests to the gateway
    that become spans. `line_concurrency`, `line_timeout` and `batch_timeout` (seconds; 0: none) are for flows over
    rows. Those and `mlflow_tracking_uri` are known by the names people already use.
    `job_cpus` and `job_memory` (megabytes) are what all jobs may take together (0: what the machine has).
    `ray_address` is the Ray cluster that `compute: ray` means, `ray_token_file` the file with its token; both are known
    by Ray's own names for them.
    `data_map` is a file that says which URLs of data are folders of this machine, `data_hosts` names hosts inside the
    network that data may be fetched from, with commas between them; with `offline` (1) nothing is fetched.
    `key_file` keeps the key of the secrets, instead of the system's keyring or a file in the person's configuration.
    """

    home: Path = Path(".studiolo")
    database_url: str = ""
    mlflow_tracking_uri: str = ""
    gateway_port: int = 8400
    control_port: int = 8401
    studio_port: int = 8402
    mlflow_port: int = 8403
    model: str = "smollm2-135m-instruct"
    embedder: str = "all-minilm-l6-v2"
    threads: int = 0
    dtype: str = "auto"
    engine_memory: int = 0
    traces: int = 100
    line_concurrency: int = 100
    line_timeout: int = 600
    batch_timeout: int = 0
    job_cpus: int = 0
    job_memory: int = 0
    data_map: str = ""
    data_hosts: str = ""
    offline: int = 0
    key_file: str = ""
    ray_address: str = ""
    ray_token_file: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the variables that are set; raise Invalid naming the variable whose value cannot be used."""
        variables = os.environ if environment is None else environment
        found: dict[str, object] = {}
        for field in fields(cls):
            name = variable(field.name)
            text = variables.get(name, "")
            if not text:
                continue
            kind = str(field.type)
            if kind == "Path":
                found[field.name] = Path(text).expanduser()
            elif kind == "int":
                if not text.isdecimal():
                    raise Invalid(
                        f"{name} must be a whole number, not {text!r}", hint=f"unset {name}: a default follows"
                    )
                found[field.name] = int(text)
            else:
                found[field.name] = text
        return cls(**found)  # type: ignore[arg-type]

    def environment(self) -> dict[str, str]:
        """Return the variables that give a child process these same settings."""
        values = {variable(field.name): str(getattr(self, field.name)) for field in fields(self)}
        return {name: value for name, value in values.items() if value}

    def __post_init__(self) -> None:
        if self.dtype not in ("auto", "bfloat16", "float32"):
            raise Invalid(f"STUDIOLO_DTYPE must be auto, bfloat16 or float32, not {self.dtype!r}")
        if not 0 <= self.traces <= 100:
            raise Invalid(f"STUDIOLO_TRACES is a percentage, not {self.traces}")
        if self.line_concurrency < 1 or self.line_timeout < 1:
            raise Invalid("PF_WORKER_COUNT and PF_LINE_TIMEOUT_SEC must be at least 1")
        if self.key_file and not Path(self.key_file).expanduser().is_absolute():
            raise Invalid("STUDIOLO_KEY_FILE must be an absolute path", hint="services start in folders of their own")
        for name in ("gateway_port", "control_port", "studio_port", "mlflow_port"):
            if not 0 < getattr(self, name) < 65536:
                raise Invalid(f"{variable(name)} must be between 1 and 65535, not {getattr(self, name)}")


def configuration_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Return where this person keeps what belongs to no workspace: `studiolo` in XDG_CONFIG_HOME or ~/.config."""
    named = (os.environ if environment is None else environment).get("XDG_CONFIG_HOME", "")
    # The standard says that a relative path is as good as none.
    return (Path(named) if named.startswith("/") else Path.home() / ".config") / "studiolo"


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Return where this person keeps what can be made again: `studiolo` in XDG_CACHE_HOME or ~/.cache."""
    named = (os.environ if environment is None else environment).get("XDG_CACHE_HOME", "")
    return (Path(named) if named.startswith("/") else Path.home() / ".cache") / "studiolo"


def variable(field: str) -> str:
    """Return the environment variable of a field: `variable("home") == "STUDIOLO_HOME"`."""
    return _USUAL.get(field, PREFIX + field.upper())
