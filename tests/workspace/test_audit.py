from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from workspace.audit import START, current_user
from workspace.errors import Conflict
from workspace.home import Workspace
from workspace.tables import audit


def record(workspace: Workspace, *subjects: str) -> None:
    for subject in subjects:
        with workspace.database.write() as connection:
            workspace.audit.record(connection, "role.change", subject, before={"role": "viewer"}, after={"größe": 1.1})


def test_what_was_done_is_listed_newest_first_with_who_did_it(any_workspace: Workspace) -> None:
    record(any_workspace, "ada", "grace")
    newest, oldest = any_workspace.audit.list()
    assert (newest.subject, newest.actor, newest.after) == ("grace", current_user(), {"größe": 1.1})
    assert any_workspace.audit.list(before=newest.seq) == [oldest]


def test_an_untouched_log_is_whole(any_workspace: Workspace) -> None:
    assert any_workspace.audit.verify() == START
    record(any_workspace, "ada", "grace")
    head = any_workspace.audit.verify()
    record(any_workspace, "emmy")
    assert any_workspace.audit.verify(head=head) != head


@pytest.mark.parametrize(
    "change",
    [
        {"actor": "nobody"},
        {"subject": "eve"},
        {"after": {"role": "admin"}},
        {"before": None},
        {"ts": 1.0},
        {"action": "x"},
    ],
)
def test_a_changed_row_is_found(any_workspace: Workspace, change: dict[str, Any]) -> None:
    record(any_workspace, "ada", "grace", "emmy")
    with any_workspace.database.write() as connection:
        connection.execute(update(audit).where(audit.c.subject == "grace").values(**change))
    with pytest.raises(Conflict, match="was changed at or before row"):
        any_workspace.audit.verify()


@pytest.mark.parametrize("subject", ["ada", "grace"])
def test_a_removed_row_is_found(any_workspace: Workspace, subject: str) -> None:
    record(any_workspace, "ada", "grace", "emmy")
    with any_workspace.database.write() as connection:
        connection.execute(delete(audit).where(audit.c.subject == subject))
    with pytest.raises(Conflict, match="was changed"):
        any_workspace.audit.verify()


def test_a_row_put_in_by_hand_is_found(workspace: Workspace) -> None:
    record(workspace, "ada")
    with workspace.database.write() as connection:
        row = dict(connection.execute(select(audit)).one()._mapping)
        connection.execute(insert(audit).values(row | {"seq": 2, "subject": "eve", "previous": row["digest"]}))
    with pytest.raises(Conflict, match="row 2"):
        workspace.audit.verify()


def test_rows_cut_off_at_the_end_are_found_by_who_kept_the_newest_seal(workspace: Workspace) -> None:
    record(workspace, "ada", "grace")
    head = workspace.audit.verify()
    with workspace.database.write() as connection:
        connection.execute(delete(audit).where(audit.c.subject == "grace"))
    workspace.audit.verify()
    with pytest.raises(Conflict, match="missing at the end"):
        workspace.audit.verify(head=head)


def test_an_act_that_fails_leaves_no_record_of_it(any_workspace: Workspace) -> None:
    with pytest.raises(ZeroDivisionError), any_workspace.database.write() as connection:  # noqa: PT012
        any_workspace.audit.record(connection, "delete", "all")
        raise ZeroDivisionError
    assert any_workspace.audit.list() == []
