"""Jobs: attempts, a queue with priorities and what a job needs, words to find it by, what it took."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

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


def downgrade() -> None:
    op.drop_index(op.f("ix_jobs_parent_submitted_at"), "jobs")
    op.drop_index(op.f("ix_jobs_place_status_priority_submitted_at"), "jobs")
    op.add_column("jobs", sa.Column("shim_pid", sa.Integer()))
    op.add_column("jobs", sa.Column("shim_started_at", sa.Float()))
    for column in reversed(_added()):
        op.drop_column("jobs", column.name)
    op.create_index(op.f("ix_jobs_status_submitted_at"), "jobs", ["status", "submitted_at"])
    op.drop_table("attempts")


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
