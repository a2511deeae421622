"""How a batch deployment works through its files: how many at a time, how often again, what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from workspace.errors import Invalid

OutputAction = Literal["append_row", "summary_only"]
ACTIONS: tuple[OutputAction, ...] = get_args(OutputAction)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """The settings of a deployment, with Azure ML's defaults.

    A mini-batch of `mini_batch_size` files that fails, or takes more than `timeout` seconds, is tried `max_retries`
    times more. Where more than `error_threshold` files have failed for good, the job ends; with -1 all may fail.
    """

    instances: int = 1
    max_concurrency_per_instance: int = 1
    mini_batch_size: int = 10
    error_threshold: int = -1
    max_retries: int = 3
    timeout: float = 30.0
    output_action: OutputAction = "append_row"
    output_file_name: str = "predictions.csv"

    def __post_init__(self) -> None:
        for name in ("instances", "max_concurrency_per_instance", "mini_batch_size"):
            if getattr(self, name) < 1:
                raise Invalid(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.error_threshold < -1:
            raise Invalid(f"error_threshold must be -1 or more, not {self.error_threshold}")
        if not self.output_file_name or "/" in self.output_file_name or self.output_file_name.startswith("."):
            raise Invalid(f"output_file_name must be the name of a file, not {self.output_file_name!r}")

    @property
    def workers(self) -> int:
        """How many processes work at a time: instances are processes of this machine."""
        return self.instances * self.max_concurrency_per_instance

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> BatchSettings:
        """Return what was kept; what is not set has its default."""
        return cls(**{name: kept[name] for name in cls.__dataclass_fields__ if kept.get(name) is not None})

    def kept(self) -> dict[str, Any]:
        """Return them as they are kept."""
        return asdict(self)
