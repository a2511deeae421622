"""No training begins on rows of evaluation sets, unless somebody says why it may; the reason is audited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finetune.language.spec import TuneJob
    from workspace import Asset
    from workspace.home import Workspace


def refuse(workspace: Workspace, data: Sequence[tuple[str, Asset]], job: TuneJob) -> None:
    """Raise Denied where the rows to learn from hold rows of an evaluation set, and no reason is given."""
    from evals.contamination import require_clean

    for name, asset in data:
        if name == "data":
            require_clean(workspace, asset, override_reason=job.override_contamination)
