from __future__ import annotations

import multiprocessing
import stat
from typing import Any

import pytest
from sqlalchemy import select, text, update

from workspace.errors import Denied, Invalid, NotFound
from workspace.home import Workspace
from workspace.tables import metadata, tokens

FORK = multiprocessing.get_context("fork")


def test_a_token_opens_the_door_with_its_role(any_workspace: Workspace) -> None:
    token = any_workspace.tokens.create("ci", "viewer")
    record = any_workspace.tokens.check(token)
    assert (record.name, record.role, record.valid) == ("ci", "viewer", True)


def test_tokens_are_long_and_never_the_same(workspace: Workspace) -> None:
    made = {workspace.tokens.create("ci") for _ in range(20)}
    assert len(made) == 20
    assert min(len(token.split("_", 2)[2]) for token in made) == 43  # 256 bits in base64


def test_no_part_of_a_token_that_opens_anything_is_in_the_database(any_workspace: Workspace) -> None:
    token = any_workspace.tokens.create("ci")
    with any_workspace.database.read() as connection:
        rows: list[Any] = [row for table in metadata.sorted_tables for row in connection.execute(select(table))]
    assert token.split("_", 2)[2] not in repr(rows)


def test_the_file_of_the_database_does_not_hold_the_local_token(workspace: Workspace) -> None:
    secret = workspace.tokens.local().split("_", 2)[2].encode()
    files = [path for path in workspace.home.rglob("*") if path.is_file() and path.name != "token"]
    assert files
    assert not [path for path in files if secret in path.read_bytes()]


@pytest.mark.parametrize("broken", ["", "st", "st__", "nonsense", "st_0123456789abcdef_x", "é" * 500, "_" * 99])
def test_what_is_no_token_is_denied_in_the_same_words(any_workspace: Workspace, broken: str) -> None:
    with pytest.raises(Denied) as denied:
        any_workspace.tokens.check(broken)
    assert str(denied.value) == "the token is not valid"


def test_one_changed_letter_is_denied(workspace: Workspace) -> None:
    token = workspace.tokens.create("ci")
    with pytest.raises(Denied):
        workspace.tokens.check(token[:-1] + ("A" if token[-1] != "A" else "B"))


def test_the_secret_of_one_token_does_not_open_with_the_id_of_another(workspace: Workspace) -> None:
    one, other = (workspace.tokens.create(name).split("_", 2) for name in ("one", "other"))
    with pytest.raises(Denied):
        workspace.tokens.check("_".join(["st", one[1], other[2]]))


def test_a_revoked_token_is_denied_at_once_in_every_process(any_workspace: Workspace) -> None:
    token = any_workspace.tokens.create("ci")
    other = Workspace.open(settings=any_workspace.settings)
    identifier = other.tokens.check(token).id
    any_workspace.tokens.revoke(identifier)
    with pytest.raises(Denied):
        other.tokens.check(token)
    any_workspace.tokens.revoke(identifier)  # closing what is closed is no error
    other.close()


def test_a_token_ends_when_its_days_are_over(workspace: Workspace) -> None:
    token = workspace.tokens.create("ci", days=1)
    assert workspace.tokens.check(token).expires_at is not None
    with workspace.database.write() as connection:
        connection.execute(update(tokens).values(expires_at=tokens.c.expires_at - 86_401))
    with pytest.raises(Denied):
        workspace.tokens.check(token)


@pytest.mark.parametrize("days", [0, -1])
def test_a_token_that_is_over_before_it_begins_is_refused(workspace: Workspace, days: float) -> None:
    with pytest.raises(Invalid, match="days"):
        workspace.tokens.create("ci", days=days)


def test_an_unknown_role_gets_a_suggestion(workspace: Workspace) -> None:
    with pytest.raises(Invalid) as refused:
        workspace.tokens.create("ci", "viewr")  # type: ignore[arg-type]
    assert refused.value.hint == "did you mean 'viewer'?"


def test_revoking_what_was_never_made_is_said(workspace: Workspace) -> None:
    with pytest.raises(NotFound, match="no token 'x'"):
        workspace.tokens.revoke("x")


def test_making_and_closing_are_in_the_audit_log_without_the_secret(workspace: Workspace) -> None:
    token = workspace.tokens.create("ci")
    workspace.tokens.revoke(workspace.tokens.list()[0].id)
    records = workspace.audit.list()
    assert [record.action for record in records] == ["token.revoke", "token.create"]
    assert token.split("_", 2)[2] not in repr(records)


def test_the_local_token_stays_the_same_and_only_its_owner_can_read_it(workspace: Workspace) -> None:
    token = workspace.tokens.local()
    assert workspace.tokens.local() == token
    assert stat.S_IMODE((workspace.home / "token").stat().st_mode) == 0o600


def test_a_local_token_that_was_revoked_is_replaced(workspace: Workspace) -> None:
    token = workspace.tokens.local()
    workspace.tokens.revoke(workspace.tokens.check(token).id)
    assert workspace.tokens.check(workspace.tokens.local()).role == "admin"


def test_services_that_start_at_once_share_one_local_token(workspace: Workspace) -> None:
    queue = FORK.SimpleQueue()
    services = [FORK.Process(target=lambda: queue.put(workspace.tokens.local())) for _ in range(6)]
    for service in services:
        service.start()
    for service in services:
        service.join(30)
    assert len({queue.get() for _ in services}) == 1
    assert len(workspace.tokens.list()) == 1


def test_a_token_with_sql_in_it_is_only_text(any_workspace: Workspace) -> None:
    any_workspace.tokens.create("ci")
    with pytest.raises(Denied):
        any_workspace.tokens.check("st_' OR '1'='1_x")
    with any_workspace.database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM tokens")) == 1


def test_a_key_for_endpoints_is_not_taken_for_the_whole_workspace(any_workspace: Workspace) -> None:
    key, whole = any_workspace.tokens.create("an application", endpoints=["support"]), any_workspace.tokens.create("ci")
    assert any_workspace.tokens.check(key).endpoints == ("support",)
    assert any_workspace.tokens.check_whole(whole).name == "ci"
    with pytest.raises(Denied, match="endpoints only"):
        any_workspace.tokens.check_whole(key)
