"""An adapter and its base become one model, which answers as they did, or nothing is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.after import merge as merging
from finetune.after.merge import Dtype
from finetune.after.parity import EXACT, ROUNDED, Parity
from studiolo.tuning.registration import ADAPTER, Trained, base_of, register
from workspace import Asset, Workspace
from workspace.errors import Invalid

if TYPE_CHECKING:
    from finetune.after.parity import Listened

_WIDEST = 8_000_000_000  # bytes of a model that is heard in float32; a larger one in its own numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A model that was made of another, and how alike the two answer."""

    asset: Asset
    parity: Parity
    dtype: str


def merge(workspace: Workspace, ref: str, *, name: str | None = None, dtype: Dtype | None = None) -> Kept:
    """Keep the model that an adapter and its base make, after both have answered alike.

    Raises Invalid, and keeps nothing, where they do not: with `dtype="float32"` nothing is lost by rounding.
    """
    asset, base = adapter_of(workspace, ref)
    with workspace.run("merge", inputs=[asset, base]) as run, staged(workspace) as folder:
        merged, parity = merged_in(workspace, asset, base, folder / "merged", dtype=dtype)
        settings = {**dict(asset.properties.get("settings") or {}), "merged": asset.ref, "dtype": merged.dtype}
        trained = Trained(
            name=name or f"{asset.name}-merged", folder=merged.folder, task="chat", method="merge", base=base,
            data=[workspace.assets.get(each.partition(":")[0], each) for each in asset.properties.get("data", ())],
            settings=settings,
        )  # fmt: skip
        kept = register(workspace, run.run_id, trained)
        run.log_metrics({"parity.tokens": parity.tokens, "parity.same_tokens": parity.same_tokens})
        run.output(kept)
    return Kept(asset=kept, parity=parity, dtype=merged.dtype)


def merged_in(
    workspace: Workspace, asset: Asset, base: Asset, into: Path, *, dtype: Dtype | None = None
) -> tuple[merging.Merged, Parity]:
    """Merge into a folder and prove that it answers as base and adapter do."""
    from finetune.after import parity

    weights, adapter = workspace.assets.path(base), workspace.assets.path(asset)
    merged = merging.merge(weights, adapter, into, dtype=dtype)
    heard_in = listening_dtype(base)
    before = parity.listen(weights, adapter=adapter, dtype=heard_in)
    after = parity.listen(into, dtype=heard_in)
    tie = EXACT if merged.dtype == "float32" and heard_in == "float32" else ROUNDED
    return merged, compared(before, after, tie=tie)


def compared(before: Listened, after: Listened, *, tie: float | None) -> Parity:
    """Compare what was heard; where rounding may be the cause, say what avoids it."""
    from finetune.after import parity

    try:
        return parity.compare(before, after, tie=tie)
    except Invalid as error:
        if tie == ROUNDED and "answers part" in error.message:
            hint = "16 bits a number round the change away: --dtype float32"
            raise Invalid(error.message, hint=hint) from None
        raise


def adapter_of(workspace: Workspace, ref: str) -> tuple[Asset, Asset]:
    """Return an adapter and its base; Invalid for a model that is none."""
    asset = workspace.assets.get("model", ref)
    if not is_adapter(workspace, asset):
        raise Invalid(f"{asset.ref} is no adapter", hint="it is a whole model already: studiolo finetune export")
    if (base := base_of(workspace, asset)) is None:
        raise Invalid(f"{asset.ref} does not say which model it belongs to", hint="its property `base` names one")
    return asset, base


def is_adapter(workspace: Workspace, asset: Asset) -> bool:
    """Whether a model is an adapter, which needs its base."""
    return (workspace.assets.path(asset) / ADAPTER).is_file()


def listening_dtype(asset: Asset) -> str:
    """Return in which numbers a model is heard."""
    return "float32" if 2 * asset.size <= _WIDEST else "bfloat16"


@contextmanager
def staged(workspace: Workspace) -> Iterator[Path]:
    """Give a folder beside the blobs, so that what is made there becomes an asset by a link; gone after the block."""
    place = workspace.home / "staging-tuning"
    place.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)
