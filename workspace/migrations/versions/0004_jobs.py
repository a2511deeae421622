"""Jobs: attempts, a queue with priorities and what a job needs, words to find it by, what it took.

Beside them what their files name: notes on assets, and datastores, computes and registries; schedules and what they
have fired; rules for events, what has changed and nobody was told yet, and what is told.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from workspace import outbox

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("job", sa.String(length=255), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("boot", sa.String(length=64), nullable=False),
        sa.Column("shim_pid", sa.Integer(), nullable=False),
        sa.Column("shim_started_at", sa.Float(), nullable=False),
        sa.Column("devices", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float()),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("usage", sa.JSON(none_as_null=True)),
        sa.PrimaryKeyConstraint("job", "number", name=op.f("pk_attempts")),
    )
    op.create_table(
        "resources",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("secrets", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_resources")),
    )
    op.add_column("assets", sa.Column("notes", sa.JSON(), nullable=False, server_default="{}"))
    for column in _added():
        op.add_column("jobs", column)
    # A job of before that has begun had one attempt; its shim is known by number and start, its machine is not.
    op.execute(
        "INSERT INTO attempts (job, number, status, host, boot, shim_pid, shim_started_at, devices, started_at, "
        "ended_at, exit_code, error) SELECT name, 1, status, '', '', COALESCE(shim_pid, 0), "
        "COALESCE(shim_started_at, 0), '[]', COALESCE(started_at, submitted_at), ended_at, exit_code, error "
        "FROM jobs WHERE started_at IS NOT NULL"
    )
    op.execute("UPDATE jobs SET attempt = 1 WHERE started_at IS NOT NULL")
    op.drop_index(op.f("ix_jobs_status_submitted_at"), "jobs")
    op.drop_column("jobs", "shim_pid")
    op.drop_column("jobs", "shim_started_at")
    op.create_index(
        op.f("ix_jobs_place_status_priority_submitted_at"), "jobs", ["place", "status", "priority", "submitted_at"]
    )
    op.create_index(op.f("ix_jobs_parent_submitted_at"), "jobs", ["parent", "submitted_at"])
    _create_schedules()
    _create_events()
    outbox.create(op.get_bind())


def downgrade() -> None:
    outbox.drop(op.get_bind())
    for table in ("deliveries", "changes", "event_rules", "firings", "schedules"):
        op.drop_table(table)
    op.drop_index(op.f("ix_jobs_parent_submitted_at"), "jobs")
    op.drop_index(op.f("ix_jobs_place_status_priority_submitted_at"), "jobs")
    op.add_column("jobs", sa.Column("shim_pid", sa.Integer()))
    op.add_column("jobs", sa.Column("shim_started_at", sa.Float()))
    for column in reversed(_added()):
        op.drop_column("jobs", column.name)
    op.create_index(op.f("ix_jobs_status_submitted_at"), "jobs", ["status", "submitted_at"])
    op.drop_column("assets", "notes")
    op.drop_table("resources")
    op.drop_table("attempts")


def _create_schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("place", sa.String(length=32), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("next_due", sa.Float()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_schedules")),
    )
    op.create_table(
        "firings",
        sa.Column("schedule", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("missed", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("job", sa.String(length=255), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Float(), nullable=False),
        sa.Column("owner_host", sa.String(length=255)),
        sa.Column("owner_pid", sa.Integer()),
        sa.Column("owner_started_at", sa.Float()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("schedule", "key", name=op.f("pk_firings")),
    )
    op.create_index(op.f("ix_firings_status_next_at"), "firings", ["status", "next_at"])


def _create_events() -> None:
    op.create_table(
        "event_rules",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("secret", sa.Text()),
        sa.Column("place", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_event_rules")),
    )
    sequence = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "changes",
        sa.Column("seq", sequence, autoincrement=True, nullable=False),
        sa.Column("topic", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=400), nullable=False),
        sa.Column("before", sa.Text()),
        sa.Column("after", sa.Text()),
        sa.Column("ts", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_changes")),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sequence, autoincrement=True, nullable=False),
        sa.Column("rule", sa.String(length=255), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("event", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Float(), nullable=False),
        sa.Column("answer", sa.Text()),
        sa.Column("owner_host", sa.String(length=255)),
        sa.Column("owner_pid", sa.Integer()),
        sa.Column("owner_started_at", sa.Float()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("rule", "event_id", name=op.f("uq_deliveries_rule_event_id")),
    )
    op.create_index(op.f("ix_deliveries_status_next_at"), "deliveries", ["status", "next_at"])


def _added() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("place", sa.String(length=32), nullable=False, server_default=""),
        sa.Column("attempt", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("retries", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("priority", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("cpus", sa.Float(), nullable=False, server_default="0"),
        sa.Column("gpus", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("memory", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("parent", sa.String(length=255)),
        sa.Column("display_name", sa.String(length=255)),
        sa.Column("experiment", sa.String(length=255)),
        sa.Column("description", sa.Text()),
        sa.Column("tags", sa.JSON(), nullable=False, server_default="{}"),
        sa.Column("properties", sa.JSON(), nullable=False, server_default="{}"),
        sa.Column("usage", sa.JSON(none_as_null=True)),
        sa.Column("archived_at", sa.Float()),
    )
