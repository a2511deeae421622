"""The connections of a workspace, on SQLite; the tables' own contract is tested on PostgreSQL as well."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from flows import connection_store
from flows.connections import Connection
from workspace.errors import Invalid, NotFound, Unavailable
from workspace.home import Workspace
from workspace.settings import configuration_folder

FORK = multiprocessing.get_context("fork")
CANARY = "sk-canary-0123456789"
OPENAI = Connection(name="mine", configs={"base_url": "http://here"}, secrets={"api_key": CANARY})
CUSTOM = Connection(name="shop", type="custom", configs={"url": "u"}, secrets={"token": CANARY, "other": "o" * 9})


@pytest.fixture(autouse=True)
def own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a person without a key."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))


def refuse(name: str) -> str:
    raise AssertionError(f"nobody may be asked for {name}")


@pytest.mark.parametrize("connection", [OPENAI, CUSTOM])
def test_a_connection_comes_back_as_it_was(workspace: Workspace, connection: Connection) -> None:
    connection_store.create(workspace, connection, ask=refuse)
    with Workspace.open(settings=workspace.settings) as other:
        assert connection_store.get(other, connection.name) == connection


def test_what_is_shown_has_asterisks_for_secrets(workspace: Workspace) -> None:
    stored = connection_store.create(workspace, OPENAI)
    shown = stored.shown()
    assert shown.pop("created_date") == shown.pop("last_modified_date")
    assert shown == {
        "name": "mine", "module": "promptflow.connections", "type": "open_ai", "api_key": "******",
        "base_url": "http://here",
    }  # fmt: skip
    shown = connection_store.create(workspace, CUSTOM).shown()
    assert shown["secrets"] == {"token": "******", "other": "******"}
    assert shown["configs"] == {"url": "u"}
    assert CANARY not in repr(stored)


def test_connections_are_listed_by_name_and_need_no_key(workspace: Workspace) -> None:
    connection_store.create(workspace, CUSTOM)
    connection_store.create(workspace, OPENAI)
    (configuration_folder() / "key").unlink()
    with Workspace.open(settings=workspace.settings) as other:
        assert [each.name for each in connection_store.list_connections(other)] == ["mine", "shop"]
        with pytest.raises(Unavailable, match="connection 'mine': the key") as lost:
            connection_store.get(other, "mine")
    assert "give the secret again" in str(lost.value.hint)


@pytest.mark.parametrize("missing", ["", "***", "******", "<no-change>"])
def test_a_missing_secret_stays_as_it_was(workspace: Workspace, missing: str) -> None:
    before = connection_store.create(workspace, CUSTOM)
    changed = Connection(name="shop", type="custom", configs={"url": "v"}, secrets={"token": missing, "other": "new"})
    after = connection_store.create(workspace, changed, ask=refuse)
    got = connection_store.get(workspace, "shop")
    assert (got.configs, got.secrets) == ({"url": "v"}, {"token": CANARY, "other": "new"})
    assert after.created_at == before.created_at < after.updated_at


@pytest.mark.parametrize("missing", ["", "***", "<no-change>", "<user-input>"])
def test_a_missing_secret_that_never_was_is_asked_for(workspace: Workspace, missing: str) -> None:
    new = Connection(name="mine", secrets={"api_key": missing})
    with pytest.raises(Invalid, match="connection 'mine' has no value for api_key"):
        connection_store.create(workspace, new)
    with pytest.raises(Invalid, match="has no value"):
        connection_store.create(workspace, new, ask=lambda _: "***")
    assert connection_store.list_connections(workspace) == []
    connection_store.create(workspace, new, ask=lambda name: f"{name} of {CANARY}")
    assert connection_store.get(workspace, "mine").api_key == f"api_key of {CANARY}"


def test_user_input_asks_also_where_there_is_one(workspace: Workspace) -> None:
    connection_store.create(workspace, OPENAI)
    connection_store.update_connection(workspace, "mine", {"api_key": "<user-input>"}, ask=lambda _: "another")
    assert connection_store.get(workspace, "mine").api_key == "another"


def test_fields_are_set_and_the_rest_stays(workspace: Workspace) -> None:
    connection_store.create(workspace, CUSTOM)
    connection_store.update_connection(workspace, "shop", {"configs.url": "v", "secrets.third": "t", "other": "p"})
    got = connection_store.get(workspace, "shop")
    assert (got.configs, got.secrets) == ({"url": "v"}, {"token": CANARY, "other": "p", "third": "t"})
    with pytest.raises(Invalid, match="the type of a connection does not change"):
        connection_store.update_connection(workspace, "shop", {"type": "serp"})
    with pytest.raises(NotFound) as unknown:
        connection_store.update_connection(workspace, "shpo", {"configs.url": "v"})
    assert unknown.value.hint == "did you mean 'shop'?"


def test_azure_without_its_key_forgets_it(workspace: Workspace) -> None:
    azure = Connection(
        name="az", type="azure_open_ai", configs={"api_base": "a", "auth_mode": "key"}, secrets={"api_key": CANARY}
    )
    connection_store.create(workspace, azure)
    stored = connection_store.update_connection(workspace, "az", {"auth_mode": "meid_token"})
    assert (stored.secret_names, stored.configs["auth_mode"]) == ((), "meid_token")


def test_a_connection_of_another_type_keeps_nothing_of_the_old(workspace: Workspace) -> None:
    connection_store.create(workspace, OPENAI)
    with pytest.raises(Invalid, match="has no value"):
        connection_store.create(workspace, Connection(name="mine", type="serp", secrets={"api_key": "***"}))


def test_names_that_mean_the_gateway_are_refused(workspace: Workspace) -> None:
    with pytest.raises(Invalid, match="cannot be called 'default'"):
        connection_store.create(workspace, Connection.to_gateway("http://here", CANARY))


def test_a_deleted_connection_is_gone(workspace: Workspace) -> None:
    connection_store.create(workspace, OPENAI)
    connection_store.delete_connection(workspace, "mine")
    for attempt in (connection_store.get, connection_store.show, connection_store.delete_connection):
        with pytest.raises(NotFound, match="no connection 'mine'"):
            attempt(workspace, "mine")


def test_a_field_of_the_environment_is_filled_in_when_used_and_not_kept(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection_store.create(workspace, Connection(name="mine", secrets={"api_key": "${env:MY_CANARY}"}))
    with pytest.raises(Invalid, match="MY_CANARY"):
        connection_store.get(workspace, "mine")
    monkeypatch.setenv("MY_CANARY", CANARY)
    assert connection_store.get(workspace, "mine").api_key == CANARY
    monkeypatch.setenv("MY_CANARY", "another")
    assert connection_store.get(workspace, "mine").api_key == "another"


def test_every_change_is_in_the_audit_log_without_secrets(workspace: Workspace) -> None:
    connection_store.create(workspace, CUSTOM)
    connection_store.update_connection(workspace, "shop", {"url": "v", "token": CANARY[::-1]})
    connection_store.delete_connection(workspace, "shop")
    records = [record for record in workspace.audit.list() if record.action.startswith("connection.")]
    assert [record.action.partition(".")[2] for record in records] == ["delete", "update", "create"]
    assert records[1].before == {"type": "custom", "configs": {"url": "u"}, "secrets": ["token", "other"]}
    assert records[1].after is not None
    assert (records[1].after["configs"], records[1].after["new_secrets"]) == ({"url": "v"}, ["token"])
    assert CANARY not in repr(records)
    assert CANARY[::-1] not in repr(records)
    workspace.audit.verify()


def test_writers_that_come_at_once_leave_one_whole_connection(workspace: Workspace) -> None:
    writers = [FORK.Process(target=_write, args=(workspace, number)) for number in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 6
    got = connection_store.get(workspace, "mine")
    assert got.api_key == f"secret of {got.base_url}"
    workspace.audit.verify()


def _write(workspace: Workspace, number: int) -> None:
    for _ in range(5):
        url = f"http://{number}"
        connection_store.create(
            workspace, Connection(name="mine", configs={"base_url": url}, secrets={"api_key": f"secret of {url}"})
        )


def test_a_killed_writer_leaves_the_old_or_the_new(workspace: Workspace) -> None:
    for pause in (0.0, 0.01, 0.02, 0.05, 0.1, 0.2):
        writer = FORK.Process(target=_write_on, args=(workspace,))
        writer.start()
        time.sleep(pause)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(10)
        for each in connection_store.list_connections(workspace):
            got = connection_store.get(workspace, each.name)
            assert got.api_key == f"secret of {got.base_url}"
    workspace.audit.verify()


def _write_on(workspace: Workspace) -> None:
    while True:
        _write(workspace, os.getpid())
