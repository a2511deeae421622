"""What of a repository may come in: formats that only hold numbers and words. What can run code is refused."""

from __future__ import annotations

import difflib
import fnmatch
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.pull.remote import Remote, RemoteFile
from workspace.errors import Denied, Invalid

WEIGHTS = (".safetensors", ".gguf")
# Configuration, tokenizers, templates, cards and licences.
_TAKEN = (".json", ".jinja", ".jinja2", ".txt", ".md", ".model", ".tiktoken", ".vocab", ".spm", ".yaml", ".yml")
_NAMED = ("license", "notice", "copying", "use_policy", "merges", "vocab")
_LEFT = {".gitattributes": "of git", ".gitignore": "of git"}
_CODE = {".py", ".pyc", ".sh", ".so", ".dll", ".dylib", ".exe", ".js", ".ipynb", ".jar", ".cu", ".cpp", ".bat"}
_PICKLED = {
    ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".dill", ".pdparams", ".t7", ".mar",
    ".nemo", ".h5", ".hdf5", ".keras", ".distcp",
}  # fmt: skip
_SHARD = re.compile(r"-\d{5}-of-\d{5}")
_LARGEST_HEADER = 100_000_000


@dataclass(frozen=True, slots=True)
class Judgement:
    """A file that does not come, and why."""

    file: RemoteFile
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What comes, what is left out because nobody here needs it, and what is refused because it can run code."""

    taken: tuple[RemoteFile, ...]
    left: tuple[Judgement, ...]
    refused: tuple[Judgement, ...]

    @property
    def has_weights(self) -> bool:
        """Whether weights are among what comes."""
        return any(file.path.endswith(WEIGHTS) for file in self.taken)


def judge(files: Iterable[RemoteFile], include: Sequence[str] = ()) -> Judged:
    """Sort files by their names; `include` are patterns of those weights that are wanted."""
    taken, left, refused = [], [], []
    for file in files:
        suffix, name = Path(file.path).suffix.casefold(), Path(file.path).name.casefold()
        if suffix in _CODE:
            refused.append(Judgement(file, "code"))
        elif suffix in _PICKLED:
            refused.append(Judgement(file, "a format that can run code when it is read"))
        elif suffix in WEIGHTS and include and not any(fnmatch.fnmatch(file.path, each) for each in include):
            left.append(Judgement(file, "not asked for"))
        elif suffix in (*WEIGHTS, *_TAKEN) or name.startswith(_NAMED):
            taken.append(file)
        else:
            left.append(Judgement(file, _LEFT.get(name, "no format that is used here")))
    return Judged(taken=tuple(taken), left=tuple(left), refused=tuple(refused))


def check_choice(remote: Remote, judged: Judged) -> None:
    """Raise where several GGUF files are there, each a model of its own, and nobody has said which."""
    ggufs = {_SHARD.sub("", file.path): file for file in judged.taken if file.path.endswith(".gguf")}
    if len(ggufs) > 1:
        listed = ", ".join(f"{path} ({file.size / 1e9:.1f} GB)" for path, file in sorted(ggufs.items()))
        raise Invalid(
            f"{remote.repo} has {len(ggufs)} GGUF files: {listed}",
            hint="say which: --include '*Q4_K_M*', or '*' for all",
        )


def check_safe(remote: Remote, judged: Judged, auto_maps: Mapping[str, Any], *, trusted: bool) -> None:
    """Raise where the model would be none without what is refused."""
    if trusted:
        return
    hint = "look at `--show-refused`; who administers this workspace may bring it by --trust 'REASON'"
    if auto_maps:
        what = ", ".join(sorted(auto_maps))
        raise Denied(f"{remote.repo} runs code of its own (auto_map in {what}): it is refused", hint=hint)
    if not judged.has_weights and judged.refused:
        names = ", ".join(each.file.path for each in judged.refused[:4])
        raise Denied(f"the weights of {remote.repo} are in formats that can run code ({names}): refused", hint=hint)
    if not judged.has_weights:
        raise Invalid(f"{remote.repo} has no weights in safetensors or GGUF", hint=f"see {remote.page}")


def auto_map(text: bytes) -> Any:
    """Return what a configuration says is made by code of the repository, or nothing."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return told.get("auto_map") or told.get("custom_pipelines") if isinstance(told, dict) else None


def diff(judged: Judged, auto_maps: Mapping[str, Any], texts: Mapping[str, bytes]) -> str:
    """Return what is refused as a unified diff against nothing: code as it is written, other files by their digests."""
    lines: list[str] = []
    for path, told in auto_maps.items():
        lines += _added(path, json.dumps({"auto_map": told}, indent=2).splitlines())
    for each in judged.refused:
        path = each.file.path
        if path in texts:
            lines += _added(path, texts[path].decode("utf-8", "replace").splitlines())
        else:
            lines += _added(path, [f"({each.why}; {each.file.size:,} bytes, {each.file.etag})"])
    # What others wrote must not move the cursor.
    return "\n".join("".join(each if each.isprintable() or each == "\t" else "�" for each in line) for line in lines)


def _added(path: str, lines: Sequence[str]) -> list[str]:
    return [*difflib.unified_diff([], lines, "/dev/null", f"b/{path}", lineterm="")]


def check_content(path: str, place: Path) -> None:
    """Raise where a file is not what its name says: a pickle may be called model.safetensors."""
    size = place.stat().st_size
    with place.open("rb") as file:
        start = file.read(8)
        wrong = False
        if path.endswith(".gguf"):
            wrong = not start.startswith(b"GGUF")
        elif path.endswith(".safetensors"):
            length = int.from_bytes(start, "little")
            wrong = (
                len(start) < 8 or not 2 <= length <= min(size - 8, _LARGEST_HEADER) or not _is_object(file.read(length))
            )
        elif path.endswith(_TAKEN):
            wrong = start.startswith((b"PK\x03\x04", b"\x7fELF")) or bool(re.match(rb"\x80[\x02-\x05]", start))
    if wrong:
        raise Denied(f"{path} is not what its name says: it is refused", hint="tell those who publish the model")


def _is_object(header: bytes) -> bool:
    try:
        return isinstance(json.loads(header), dict)
    except (ValueError, RecursionError):
        return False
