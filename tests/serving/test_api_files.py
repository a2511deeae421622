"""The files of the gateway, by the official client: uploaded, listed, read, deleted, each token's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai
import pytest
from openai import AsyncOpenAI

from serving.call import Limits
from serving.gateway import create_app
from tests.serving.conftest import BOUNDS, listening

if TYPE_CHECKING:
    from tests.serving.conftest import House

LINES = b'{"custom_id": "a"}\n'


async def test_a_file_is_uploaded_shown_read_and_deleted(house: House) -> None:
    made = await house.client.files.create(file=("my lines.jsonl", LINES), purpose="batch")
    assert (made.filename, made.bytes, made.purpose, made.object) == ("my lines.jsonl", len(LINES), "batch", "file")
    assert (await house.client.files.retrieve(made.id)).id == made.id
    assert (await house.client.files.content(made.id)).content == LINES
    gone = await house.client.files.delete(made.id)
    assert (gone.id, gone.deleted) == (made.id, True)
    with pytest.raises(openai.NotFoundError):
        await house.client.files.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        await house.client.files.delete(made.id)


async def test_lists_come_in_pages_that_clients_turn(house: House) -> None:
    made = [await house.client.files.create(file=(f"{n}.jsonl", LINES), purpose="batch") for n in range(5)]
    newest_first = [file.id async for file in house.client.files.list(limit=2)]
    assert newest_first == [file.id for file in reversed(made)]
    oldest_first = [file.id async for file in house.client.files.list(limit=3, order="asc", purpose="batch")]
    assert oldest_first == [file.id for file in made]
    assert [file async for file in house.client.files.list(purpose="batch_output")] == []
    with pytest.raises(openai.BadRequestError, match="no item 'file-x'"):
        await house.client.files.list(after="file-x")


async def test_of_the_files_of_another_token_nothing_is_told(house: House) -> None:
    made = await house.client.files.create(file=("a.jsonl", LINES), purpose="batch")
    token = house.workspace.tokens.create("other", "viewer")
    async with AsyncOpenAI(base_url=f"{house.base_url}/v1", api_key=token, max_retries=0) as other:
        assert [file async for file in other.files.list()] == []
        for ask in (other.files.retrieve, other.files.content, other.files.delete):
            with pytest.raises(openai.NotFoundError):
                await ask(made.id)
    assert (await house.client.files.retrieve(made.id)).id == made.id


async def test_what_is_too_large_is_refused_however_it_comes(house: House) -> None:
    door = create_app(house.workspace, limits=Limits(file=1_000))
    async with listening(door, BOUNDS) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key=house.token) as client:
        for size in (1_001, 3_000_000):
            with pytest.raises(openai.APIStatusError) as caught:
                await client.files.create(file=("a.jsonl", b"x" * size), purpose="batch")
            assert (caught.value.status_code, caught.value.code) == (413, "file_too_large")
    assert not list(house.workspace.home.glob("upload-*"))


async def test_bytes_of_a_large_file_come_back_as_they_went(house: House) -> None:
    large = bytes(range(256)) * 20_000
    made = await house.client.files.create(file=("a.jsonl", large), purpose="batch")
    assert (await house.client.files.content(made.id)).content == large


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"data": {"purpose": "fine-tune"}, "files": {"file": ("a", LINES)}}, "purpose"),
        ({"data": {}, "files": {"file": ("a", LINES)}}, "purpose"),
        ({"data": {"purpose": "batch"}, "files": {"thing": ("a", LINES)}}, "file"),
        ({"data": {"purpose": "batch", "expires_after[anchor]": "created_at"}, "files": {"file": ("a", LINES)}},
         "expires_after[anchor]"),
    ],
)  # fmt: skip
async def test_a_form_that_cannot_be_right_is_refused_by_its_field(house: House, form: dict, param: str) -> None:  # type: ignore[type-arg]
    answer = await house.http.post("/v1/files", **form)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_what_is_no_form_is_refused(house: House) -> None:
    assert (await house.http.post("/v1/files", json={"purpose": "batch"})).status_code == 415
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        answer = await house.http.post("/v1/files", content=b"no form", headers={"content-type": kind})
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] in ("invalid_form", "missing_required_parameter")
