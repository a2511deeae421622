"""A trained model leaves: as safetensors, as one GGUF file, or as an adapter for servers with many of them.

Whatever leaves has answered twenty conversations as the model here does; what does not answer alike is not left.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, cast

from finetune.after import gguf_file, model_card, parity
from finetune.after.gguf_file import Numbers
from finetune.after.parity import EXACT, ROUNDED, Parity
from finetune.text.packing import weights_of
from serving.engines import installs
from studiolo.tuning import comparing
from studiolo.tuning.merging import adapter_of, compared, is_adapter, listening_dtype, merged_in, staged
from studiolo.tuning.registration import ADAPTER, story_of
from workspace import Asset, Workspace
from workspace.errors import Conflict, Invalid, MissingExtra, NotFound

Format = Literal["safetensors", "gguf", "adapter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What has left: where it is, how alike it answers (None: files were copied that nothing has touched)."""

    folder: Path
    format: Format
    model: Asset
    files: tuple[str, ...]
    parity: Parity | None
    asset: Asset | None = None
    rank: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for. `converter` is llama.cpp's convert_hf_to_gguf.py; `keep` the name to keep it under as well."""

    format: Format = "safetensors"
    numbers: Numbers = "f16"
    converter: Path | None = None
    keep: str | None = None


def export(workspace: Workspace, ref: str, into: Path, wanted: Wanted | None = None) -> Exported:
    """Write a model into a new folder, with its card. Raises Invalid, and leaves nothing, where its answers part."""
    wanted = wanted or Wanted()
    asset = workspace.assets.get("model", ref)
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise Conflict(f"there is something at {str(into)!r} already", hint="name a new folder")
    with workspace.run("export", inputs=[asset]) as run, staged(workspace) as work:
        made = work / "export"
        found: Parity | None
        if wanted.format == "adapter":
            found = _adapter(workspace, asset, made)
        elif wanted.format == "gguf":
            found = _gguf(workspace, asset, made, wanted, work)
        else:
            found = _safetensors(workspace, asset, made)
        (made / model_card.CARD).write_text(
            story_of(workspace, asset, comparing.results_of(workspace, asset)), encoding="utf-8"
        )
        kept = None
        if wanted.keep is not None:
            kept = workspace.assets.put("model", wanted.keep, made, properties=_properties(asset, wanted))
            run.output(kept)
        into.parent.mkdir(parents=True, exist_ok=True)
        if into.exists():
            into.rmdir()  # it is empty
        shutil.move(made, into)
    files = tuple(sorted(str(path.relative_to(into)) for path in into.rglob("*") if path.is_file()))
    rank = json.loads((into / ADAPTER).read_text(encoding="utf-8"))["r"] if wanted.format == "adapter" else None
    return Exported(folder=into, format=wanted.format, model=asset, files=files, parity=found, asset=kept, rank=rank)


def _safetensors(workspace: Workspace, asset: Asset, made: Path) -> Parity | None:
    """Lay out a whole model; an adapter is merged on the way."""
    if is_adapter(workspace, asset):
        adapter, base = adapter_of(workspace, asset.ref)
        return merged_in(workspace, adapter, base, made)[1]
    source = weights_of(workspace.assets.path(asset))
    shutil.copytree(source, made)
    _writable(made)
    if asset.properties.get("task") != "chat":
        return None
    heard_in = listening_dtype(asset)
    return compared(parity.listen(source, dtype=heard_in), parity.listen(made, dtype=heard_in), tie=EXACT)


def _adapter(workspace: Workspace, asset: Asset, made: Path) -> Parity:
    """Lay out an adapter as vLLM's --lora-modules and our engine read it."""
    adapter, base = adapter_of(workspace, asset.ref)
    source = workspace.assets.path(adapter)
    shutil.copytree(source, made)
    _writable(made)
    config = json.loads((made / ADAPTER).read_text(encoding="utf-8"))
    if config.get("use_dora"):
        hint = "servers with many adapters know plain LoRA alone: studiolo finetune merge"
        raise Invalid(f"{asset.ref} is a DoRA adapter", hint=hint)
    config["base_model_name_or_path"] = base.properties.get("base_model") or base.name
    (made / ADAPTER).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    weights = workspace.assets.path(base)
    heard_in = listening_dtype(base)
    before = parity.listen(weights, adapter=source, dtype=heard_in)
    return compared(before, parity.listen(weights, adapter=made, dtype=heard_in), tie=EXACT)


def _gguf(workspace: Workspace, asset: Asset, made: Path, wanted: Wanted, work: Path) -> Parity:
    """Write one file and have llama.cpp answer from it."""
    python = llamacpp()
    whole = workspace.assets.path(asset)
    if is_adapter(workspace, asset):
        _, base = adapter_of(workspace, asset.ref)
        whole = work / "merged"
        # In float32: it is rounded once, when the file is written.
        merged_in(workspace, asset, base, whole, dtype="float32")
    elif asset.properties.get("task", "chat") != "chat":
        raise Invalid(f"{asset.ref} is for {asset.properties['task']}", hint="chat models become GGUF files")
    made.mkdir()
    file = made / f"{asset.name}-{wanted.numbers.upper()}.gguf"
    if wanted.converter is None:
        gguf_file.write(whole, file, numbers=wanted.numbers, name=asset.name)
    else:
        _convert(wanted.converter, whole, file, wanted.numbers)
    before = parity.listen(whole, dtype=listening_dtype(asset))
    after = parity.listen_to_gguf(file, whole, python)
    ties: dict[Numbers, float | None] = {"f32": EXACT, "f16": ROUNDED, "bf16": ROUNDED, "q8_0": None}
    # llama.cpp sums in another order than torch: even equal weights give logits that differ in the last digits.
    return parity.compare(before, after, tie=None if (tie := ties[wanted.numbers]) is None else max(tie, 2e-2))


def _convert(script: Path, whole: Path, file: Path, numbers: Numbers) -> None:
    if not script.is_file():
        raise NotFound(f"no converter at {str(script)!r}", hint="convert_hf_to_gguf.py of llama.cpp")
    command = [sys.executable, str(script), str(whole), "--outfile", str(file), "--outtype", numbers]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode or not file.is_file():
        last = " ".join(ended.stderr.strip().splitlines()[-1:])
        raise Invalid(f"{script.name} failed: {last}")


def llamacpp() -> Path:
    """Return the Python that has llama.cpp, without which no GGUF file can be proven."""
    if found := installs.python("llamacpp"):
        return Path(found)
    if find_spec("xllamacpp") is not None:
        return Path(sys.executable)
    raise MissingExtra(
        "a GGUF file is proven by llama.cpp, which is not here",
        hint="studiolo engine install llamacpp, or pip install 'studiolo[llamacpp]'",
    )


def _properties(asset: Asset, wanted: Wanted) -> dict[str, object]:
    told = {key: value for key, value in asset.properties.items() if key not in ("adapter", "made")}
    if wanted.format == "adapter":
        told = dict(asset.properties)
    return told | {"exported": asset.ref, "format": wanted.format}


def _writable(folder: Path) -> None:
    """Files that were linked from the workspace are only for reading; a copy is its owner's."""
    for path in folder.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)


def serving_words(exported: Exported) -> Sequence[str]:
    """Return what serves what has left."""
    name, place = exported.model.name, exported.folder
    if exported.format == "gguf":
        file = next(each for each in exported.files if each.endswith(".gguf"))
        return (f"llama-server -m {place / file}",)
    if exported.format == "safetensors":
        return (f"vllm serve {place} --served-model-name {name}",)
    base = cast("str", json.loads((place / ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"])
    return (
        f"vllm serve {base} --enable-lora --max-lora-rank {max(8, exported.rank or 8)} --lora-modules {name}={place}",
        f"here, in a deployment's file: adapters: {{{name}: {exported.model.ref}}}",
    )
