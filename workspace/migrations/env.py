"""Alembic's entry: run the migrations inside the transaction that `migrate` has opened."""

from __future__ import annotations

from alembic import context

from workspace.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
