"""Serving: keys with limits, mirrors, rollouts, stored responses, files and batches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("endpoints", sa.Column("kind", sa.String(length=16), nullable=False, server_default="online"))
    op.add_column("endpoints", sa.Column("mirror", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("tokens", sa.Column("endpoints", sa.JSON(none_as_null=True)))
    op.add_column("tokens", sa.Column("limits", sa.JSON(none_as_null=True)))
    _usage()
    _rollouts()
    _responses()
    _batches()


def downgrade() -> None:
    for table in ("batches", "files", "responses", "rollouts", "token_usage"):
        op.drop_table(table)
    for table, column in (
        ("tokens", "limits"),
        ("tokens", "endpoints"),
        ("endpoints", "mirror"),
        ("endpoints", "kind"),
    ):
        op.drop_column(table, column)


def _usage() -> None:
    op.create_table(
        "token_usage",
        sa.Column("token_id", sa.String(length=16), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("endpoint", sa.String(length=255), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("token_id", "day", "endpoint", name=op.f("pk_token_usage")),
    )


def _rollouts() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("endpoint", sa.String(length=255), nullable=False),
        sa.Column("deployment", sa.String(length=255), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("stepped_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts")),
    )
    op.create_index(op.f("ix_rollouts_endpoint_created_at"), "rollouts", ["endpoint", "created_at"])


def _responses() -> None:
    op.create_table(
        "responses",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("token_id", sa.String(length=16), nullable=False),
        sa.Column("model", sa.String(length=400), nullable=False),
        sa.Column("previous_id", sa.String(length=64)),
        sa.Column("input", sa.JSON(), nullable=False),
        sa.Column("response", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_responses")),
    )
    op.create_index(op.f("ix_responses_created_at"), "responses", ["created_at"])


def _batches() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("token_id", sa.String(length=16), nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("token_id", sa.String(length=16), nullable=False),
        sa.Column("path", sa.String(length=64), nullable=False),
        sa.Column("input_file", sa.String(length=64), nullable=False),
        sa.Column("output_file", sa.String(length=64)),
        sa.Column("error_file", sa.String(length=64)),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("job", sa.String(length=255)),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("errors", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("times", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_index(op.f("ix_batches_created_at"), "batches", ["created_at"])
