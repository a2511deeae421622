"""What tests of jobs are given besides a workspace: a real PostgreSQL server."""

from __future__ import annotations

from tests.workspace.conftest import any_workspace as any_workspace
from tests.workspace.conftest import postgres_server as postgres_server
from tests.workspace.conftest import postgres_url as postgres_url
