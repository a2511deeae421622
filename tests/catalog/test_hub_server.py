"""The local Hub answers the official client's own calls over real HTTP as the Hub does."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    BadRequestError,
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from catalog.hub_server.folder import commit_of, files_of, moment, repository
from catalog.hub_server.limits import RateLimits
from catalog.hub_server.shelf import Repositories
from tests.hub import LocalHub, local_hub

MODEL = "lab/tiny"


def _safetensors(values: int = 64) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [values], "data_offsets": [0, 4 * values]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4 * values)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Repositories:
    root = tmp_path_factory.mktemp("hub")
    first, second = root / "first", root / "second"
    for folder in (first, second):
        (folder / "tokenizer").mkdir(parents=True)
        (folder / "config.json").write_text('{"model_type": "llama"}')
        (folder / "model.safetensors").write_bytes(_safetensors())
        (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    (second / "README.md").write_text("# Tiny\n")
    tiny = repository(
        MODEL, second, created=1.7e9, tags=["transformers", "license:mit"], pipeline_tag="text-generation",
        library_name="transformers", downloads=7, safetensors={"parameters": {"F32": 64}, "total": 64},
    )  # fmt: skip
    older = commit_of(files_of(first), moment(1.6e9), "First")
    tiny = replace(
        tiny,
        commits=(*tiny.commits, older),
        refs={"refs/tags/v1": older.sha, "v1": older.sha, "refs/pr/1": older.sha},
    )
    others = [
        repository(f"lab/other-{n}", first, created=1.6e9 + n, downloads=n, trendingScore=n % 3) for n in range(12)
    ]
    gated = repository("lab/gated", first, created=1.6e9, gated="manual", readers=frozenset({"alice"}))
    private = repository("lab/private", first, created=1.6e9, private=True, readers=frozenset({"alice"}))
    disabled = repository("lab/disabled", first, created=1.6e9, disabled=True)
    legacy = repository("gpt0", first, created=1.6e9)
    return Repositories([tiny, *others, gated, private, disabled, legacy], moved={"lab/old": MODEL, "tiny0": MODEL})


@pytest.fixture(scope="module")
def hub(shelf: Repositories) -> Iterator[LocalHub]:
    with local_hub(shelf) as running:
        yield running


@pytest.fixture
def api(hub: LocalHub) -> HfApi:
    return HfApi(endpoint=hub.address, token=False)


def test_a_list_is_filtered_sorted_and_followed_over_its_pages(hub: LocalHub, api: HfApi) -> None:
    hub.asked.clear()
    found = [each.id for each in api.list_models(author="lab", search="OTHER", sort="downloads", limit=12)]
    page = httpx.get(f"{hub.address}/api/models", params={"author": "lab", "search": "other", "limit": 5})
    seen, pages = [each["id"] for each in page.json()], 1
    while "next" in page.links:
        page = httpx.get(page.links["next"]["url"])
        seen, pages = [*seen, *(each["id"] for each in page.json())], pages + 1
    assert found == [f"lab/other-{n}" for n in reversed(range(12))]
    assert pages == 3
    assert sorted(seen) == sorted(found)
    assert [each.id for each in api.list_models(filter=["license:mit", "transformers"])] == [MODEL]
    assert [each.id for each in api.list_models(num_parameters="min:10,max:1K", pipeline_tag="text-generation")] == [
        MODEL
    ]


def test_a_list_tells_what_is_asked_for_and_refuses_unknown_fields(hub: LocalHub, api: HfApi) -> None:
    (one,) = httpx.get(f"{hub.address}/api/models?search=tiny").json()
    assert set(one) == {
        "_id", "id", "likes", "trendingScore", "private", "downloads", "tags", "pipeline_tag", "library_name",
        "createdAt", "modelId",
    }  # fmt: skip
    (one,) = httpx.get(f"{hub.address}/api/models?search=tiny&expand[]=sha&expand=gated").json()
    assert set(one) == {"_id", "id", "sha", "gated"}
    with pytest.raises(BadRequestError, match="must be one of author, cardData"):
        list(api.list_models(expand=["nothing"]))  # type: ignore[list-item]


def test_an_info_tells_files_with_digests_and_any_revision(shelf: Repositories, api: HfApi) -> None:
    tiny = shelf.find(MODEL)
    assert tiny is not None
    info = api.model_info(MODEL, files_metadata=True)
    weights = next(each for each in info.siblings or () if each.rfilename == "model.safetensors")
    assert info.sha == tiny.commits[0].sha
    assert weights.lfs is not None
    assert weights.lfs.sha256 == tiny.commits[0].files["model.safetensors"].sha256
    assert api.model_info(MODEL, revision="refs/pr/1").sha == api.model_info(MODEL, revision="v1").sha != info.sha
    assert api.model_info("tiny0").id == api.model_info("lab/old").id == api.model_info("LAB/Tiny").id == MODEL
    assert api.model_info("gpt0").id == "gpt0"


def test_trees_paths_refs_and_commits(shelf: Repositories, api: HfApi) -> None:
    tree = [each.path for each in api.list_repo_tree(MODEL, recursive=True)]
    assert tree == ["README.md", "config.json", "model.safetensors", "tokenizer", "tokenizer/tokenizer.json"]
    assert [each.path for each in api.list_repo_tree(MODEL, "tokenizer")] == ["tokenizer/tokenizer.json"]
    assert [each.path for each in api.get_paths_info(MODEL, ["config.json", "nothing"])] == ["config.json"]
    refs = api.list_repo_refs(MODEL, include_pull_requests=True)
    assert ([each.name for each in refs.branches], [each.name for each in refs.tags]) == (["main"], ["v1"])
    assert [each.ref for each in refs.pull_requests or ()] == ["refs/pr/1"]
    assert [each.title for each in api.list_repo_commits(MODEL)] == ["Upload", "First"]


def test_files_come_from_the_cache_of_the_hub_and_large_ones_from_elsewhere(
    hub: LocalHub, api: HfApi, tmp_path: Path
) -> None:
    hub.authorised.clear()
    folder = Path(snapshot_download(MODEL, endpoint=hub.address, token="hf_alice", cache_dir=tmp_path))
    assert (folder / "model.safetensors").read_bytes() == _safetensors()
    assert (folder / "config.json").read_text() == '{"model_type": "llama"}'
    # a token never goes to the content network
    assert {authorised for host, authorised in hub.authorised if host.startswith("localhost")} == {False}
    read = hf_hub_download("lab/old", "README.md", endpoint=hub.address, token=False, cache_dir=tmp_path / "other")
    assert Path(read).read_text() == "# Tiny\n"
    assert api.get_safetensors_metadata(MODEL).parameter_count == {"F32": 64}


def test_a_file_is_told_by_its_head_and_sent_in_parts(hub: LocalHub) -> None:
    weights = f"{hub.address}/{MODEL}/resolve/main/model.safetensors"
    head = httpx.head(weights)
    assert head.status_code == 302
    assert head.headers["X-Linked-Size"] == str(len(_safetensors()))
    part = httpx.get(head.headers["Location"], headers={"Range": "bytes=0-7"})
    assert (part.status_code, part.content) == (206, _safetensors()[:8])
    config = httpx.head(f"{hub.address}/{MODEL}/resolve/main/config.json")
    assert config.status_code == 307
    assert config.headers["Location"].startswith(f"/api/resolve-cache/models/{MODEL}/")
    whole = httpx.get(hub.address + config.headers["Location"])
    again = httpx.get(hub.address + config.headers["Location"], headers={"If-None-Match": whole.headers["ETag"]})
    assert again.status_code == 304
    assert httpx.get(head.headers["Location"].partition("?")[0]).status_code == 403  # only by its signed address


@pytest.mark.parametrize(
    ("name", "token", "error"),
    [
        ("lab/nothing", False, RepositoryNotFoundError),
        ("lab/nothing", "hf_bob", RepositoryNotFoundError),
        ("lab/private", "hf_bob", RepositoryNotFoundError),
        ("lab/gated", False, GatedRepoError),
        ("lab/gated", "hf_bob", GatedRepoError),
        ("lab/disabled", False, DisabledRepoError),
        (MODEL, "hf_wrong", HfHubHTTPError),
    ],
)
def test_who_may_not_read_is_told_so_as_the_hub_does(
    hub: LocalHub, name: str, token: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        list(HfApi(endpoint=hub.address, token=token).list_repo_tree(name))


def test_who_may_read_does(hub: LocalHub) -> None:
    alice = HfApi(endpoint=hub.address, token="hf_alice")
    assert alice.model_info("lab/private").private
    assert "config.json" in alice.list_repo_files("lab/gated")
    assert alice.whoami()["name"] == "alice"
    alice.auth_check("lab/gated")
    assert {each.id for each in alice.list_models(search="private")} == {"lab/private"}
    assert not list(HfApi(endpoint=hub.address, token=False).list_models(search="private"))
    assert HfApi(endpoint=hub.address, token=False).model_info("lab/gated").gated == "manual"


def test_what_is_not_there_is_told_by_name(api: HfApi, hub: LocalHub, tmp_path: Path) -> None:
    with pytest.raises(RevisionNotFoundError):
        api.model_info(MODEL, revision="nothing")
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download(MODEL, "nothing.json", endpoint=hub.address, token=False, cache_dir=tmp_path)


def test_requests_are_counted_and_what_is_too_much_waits(shelf: Repositories) -> None:
    limits = RateLimits({"api": 2, "resolvers": 9, "pages": 9}, window=1.0)
    with local_hub(shelf, limits=limits) as hub:
        told = [httpx.get(f"{hub.address}/api/models?limit=1") for _ in range(3)]
        assert [each.status_code for each in told] == [200, 200, 429]
        assert told[2].headers["RateLimit"].startswith('"api";r=0;t=')
        assert len(list(HfApi(endpoint=hub.address, token=False).list_models(search="tiny"))) == 1  # waits, asks again
