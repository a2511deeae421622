"""The tables of the system of record; `workspace/migrations` creates them, on SQLite and on PostgreSQL alike.

Times are UTC seconds since the epoch (float): both engines keep them exactly and DuckDB reads them without a zone.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
)

from workspace import outbox

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only for INTEGER PRIMARY KEY.
_sequence = BigInteger().with_variant(Integer, "sqlite")

assets = Table(
    "assets",
    metadata,
    Column("id", _sequence, primary_key=True, autoincrement=True),
    Column("kind", String(32), nullable=False),
    Column("name", String(255), nullable=False),
    Column("version", String(64), nullable=False),
    Column("digest", String(71), nullable=False),  # "sha256:" and 64 hex digits
    Column("size", BigInteger, nullable=False),
    Column("is_folder", Boolean, nullable=False),
    Column("properties", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("archived_at", Float),
    Column("notes", JSON, nullable=False, server_default="{}"),  # what people say of it: description, tags; may change
    UniqueConstraint("kind", "name", "version"),
    Index(None, "digest"),
)

asset_labels = Table(
    "asset_labels",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("label", String(64), primary_key=True),
    Column("version", String(64), nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", String(32), primary_key=True),  # 32 hex digits, as MLflow's
    Column("kind", String(32), nullable=False),
    Column("name", String(255), nullable=False, unique=True),
    Column("status", String(16), nullable=False),  # RUNNING, FINISHED, FAILED, KILLED, PAUSED
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("params", JSON, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("environment", JSON, nullable=False),  # git, packages, hardware
    Column("error", Text),
    Column("owner_host", String(255), nullable=False),
    Column("owner_pid", Integer, nullable=False),
    Column("owner_started_at", Float, nullable=False),
    Column("changed", Integer, nullable=False),  # grows with every write
    Column("carried", Integer, nullable=False),  # the `changed` that MLflow has seen
    Index(None, "kind", "started_at"),
)

metrics = Table(
    "metrics",
    metadata,
    Column("id", _sequence, primary_key=True, autoincrement=True),
    Column("run_id", String(32), nullable=False),
    Column("key", String(250), nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("value", Float),  # NULL: not a number, which SQLite cannot keep
    Column("ts", Float, nullable=False),
    Index(None, "run_id", "key", "step"),
)

edges = Table(
    "edges",
    metadata,
    Column("source", String(400), primary_key=True),  # "data:questions:1" or "run:<id>"; source → target is data flow
    Column("target", String(400), primary_key=True),
    Column("run_id", String(32), nullable=False),
    Column("created_at", Float, nullable=False),
    Index(None, "target", "source"),
)

events = Table(
    "events",
    metadata,
    Column("seq", _sequence, primary_key=True, autoincrement=True),
    Column("event_id", String(64), nullable=False, unique=True),
    Column("kind", String(32), nullable=False),  # lineage, request, span
    Column("ts", Float, nullable=False),
    Column("run_id", String(32)),
    Column("payload", JSON, nullable=False),
    Index(None, "kind", "ts"),
)

endpoints = Table(
    "endpoints",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("traffic", JSON, nullable=False),  # {deployment: percent}
    Column("properties", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("kind", String(16), nullable=False, server_default="online"),  # online, batch
    Column("mirror", JSON, nullable=False, server_default="{}"),  # {deployment: percent} of requests that are copied
)

deployments = Table(
    "deployments",
    metadata,
    Column("endpoint", String(255), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("engine", String(32), nullable=False),
    Column("model", String(400), nullable=False),  # an asset reference with its version
    Column("properties", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

connections = Table(
    "connections",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("type", String(32), nullable=False),
    Column("configs", JSON, nullable=False),
    Column("secrets", JSON, nullable=False),  # {name: sealed text}
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

resources = Table(
    "resources",
    metadata,
    Column("kind", String(32), primary_key=True),  # datastore, compute, registry, connection
    Column("name", String(255), primary_key=True),
    Column("spec", JSON, nullable=False),  # as its file said it, without what is secret
    Column("secrets", JSON, nullable=False),  # {name: sealed text}
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),  # SHA-256 of a random 256-bit token
    Column("role", String(32), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    Column("endpoints", JSON(none_as_null=True)),  # names that it may ask; NULL: every one
    Column("limits", JSON(none_as_null=True)),  # requests and tokens a minute, concurrency, budgets; NULL: none
)

token_usage = Table(
    "token_usage",
    metadata,
    Column("token_id", String(16), primary_key=True),
    Column("day", String(10), primary_key=True),  # "2026-11-27", UTC
    Column("endpoint", String(255), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cost", Float, nullable=False),  # in the currency of prices.yaml
)

audit = Table(
    "audit",
    metadata,
    Column("seq", _sequence, primary_key=True, autoincrement=True),
    Column("ts", Float, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(400), nullable=False),
    Column("before", JSON),
    Column("after", JSON),
    Column("previous", String(64), nullable=False),  # chained: each row's hash covers the row before
    Column("digest", String(64), nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("status", String(16), nullable=False),  # Azure ML's words; Completed, Failed and Canceled are for ever
    Column("spec", JSON, nullable=False),
    Column("run_id", String(32)),
    Column("exit_code", Integer),
    Column("error", Text),
    Column("submitted_at", Float, nullable=False),
    Column("started_at", Float),  # its first attempt
    Column("ended_at", Float),
    Column("place", String(32), nullable=False, server_default=""),  # the home folder that holds its files
    Column("attempt", Integer, nullable=False, server_default="0"),  # the number of the newest one
    Column("retries", Integer, nullable=False, server_default="0"),  # how many attempts may fail and be made again
    Column("failures", Integer, nullable=False, server_default="0"),  # how many have
    Column("priority", Integer, nullable=False, server_default="0"),  # the least goes first
    Column("cpus", Float, nullable=False, server_default="0"),
    Column("gpus", Integer, nullable=False, server_default="0"),
    Column("memory", BigInteger, nullable=False, server_default="0"),  # bytes
    Column("parent", String(255)),
    Column("display_name", String(255)),
    Column("experiment", String(255)),
    Column("description", Text),
    Column("tags", JSON, nullable=False, server_default="{}"),
    Column("properties", JSON, nullable=False, server_default="{}"),
    Column("usage", JSON(none_as_null=True)),  # what all attempts took together
    Column("archived_at", Float),
    Index(None, "place", "status", "priority", "submitted_at"),
    Index(None, "parent", "submitted_at"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("job", String(255), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("status", String(16), nullable=False),  # Starting … Completed, Failed, Canceled, Lost
    Column("host", String(255), nullable=False),
    Column("boot", String(64), nullable=False),  # which boot of that machine
    Column("shim_pid", Integer, nullable=False),
    Column("shim_started_at", Float, nullable=False),
    Column("devices", JSON, nullable=False),  # the GPUs that are its alone
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("exit_code", Integer),
    Column("error", Text),
    Column("usage", JSON(none_as_null=True)),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("endpoint", String(255), nullable=False),
    Column("deployment", String(255), nullable=False),  # the candidate
    Column("spec", JSON, nullable=False),  # steps, bake time, guards
    Column("state", String(16), nullable=False),  # RUNNING, PAUSED, then COMPLETED or ABORTED for ever
    Column("step", Integer, nullable=False),
    Column("evidence", JSON, nullable=False),  # what the guards know so far
    Column("reason", Text),
    Column("created_at", Float, nullable=False),
    Column("stepped_at", Float, nullable=False),
    Column("ended_at", Float),
    Index(None, "endpoint", "created_at"),
)

responses = Table(
    "responses",
    metadata,
    Column("id", String(64), primary_key=True),  # resp_<hex>
    Column("token_id", String(16), nullable=False),
    Column("model", String(400), nullable=False),
    Column("previous_id", String(64)),
    Column("input", JSON, nullable=False),  # its own input items, without those of the responses before it
    Column("response", JSON, nullable=False),  # as it was answered
    Column("created_at", Float, nullable=False),
    Index(None, "created_at"),
)

files = Table(
    "files",
    metadata,
    Column("id", String(64), primary_key=True),  # file-<hex>
    Column("token_id", String(16), nullable=False),
    Column("filename", String(255), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("digest", String(71), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created_at", Float, nullable=False),
)

batches = Table(
    "batches",
    metadata,
    Column("id", String(64), primary_key=True),  # batch_<hex>
    Column("token_id", String(16), nullable=False),
    Column("path", String(64), nullable=False),  # "/v1/chat/completions"
    Column("input_file", String(64), nullable=False),
    Column("output_file", String(64)),
    Column("error_file", String(64)),
    Column("status", String(16), nullable=False),  # as OpenAI says it: validating, in_progress, completed …
    Column("job", String(255)),  # the job that does the work
    Column("counts", JSON, nullable=False),  # {total, completed, failed}
    Column("errors", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("times", JSON, nullable=False),  # {created_at, in_progress_at, …}
    Column("created_at", Float, nullable=False),
    Index(None, "created_at"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("spec", JSON, nullable=False),  # what runs and when, as its file said it
    Column("place", String(32), nullable=False),  # the home folder whose control plane fires it
    Column("enabled", Boolean, nullable=False),
    Column("next_due", Float),  # NULL: never again by the clock
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

firings = Table(
    "firings",
    metadata,
    Column("schedule", String(255), primary_key=True),
    Column("key", String(255), primary_key=True),  # the moment, or what whoever asks calls it: none comes twice
    Column("due", Float, nullable=False),
    Column("cause", String(16), nullable=False),  # clock, hand, http
    Column("parameters", JSON, nullable=False),
    Column("missed", Integer, nullable=False),  # how many before it were left out
    Column("status", String(16), nullable=False),  # waiting, starting, then started or failed for ever
    Column("job", String(255), nullable=False),
    Column("error", Text),
    Column("tries", Integer, nullable=False),
    Column("next_at", Float, nullable=False),  # not before
    Column("owner_host", String(255)),
    Column("owner_pid", Integer),
    Column("owner_started_at", Float),
    Column("created_at", Float, nullable=False),
    Index(None, "status", "next_at"),
)

event_rules = Table(
    "event_rules",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("spec", JSON, nullable=False),  # which events, and who is told
    Column("secret", Text),  # what signs, sealed
    Column("place", String(32), nullable=False),  # the home folder whose control plane tells
    Column("created_at", Float, nullable=False),
)

changes = Table(
    "changes",
    metadata,
    Column("seq", _sequence, primary_key=True, autoincrement=True),
    Column("topic", String(32), nullable=False),  # job, asset, deployment, rollout, told
    Column("subject", String(400), nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("ts", Float, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", _sequence, primary_key=True, autoincrement=True),
    Column("rule", String(255), nullable=False),
    Column("event_id", String(64), nullable=False),
    Column("event", JSON, nullable=False),
    Column("status", String(16), nullable=False),  # waiting, sending, then delivered or dead for ever
    Column("tries", Integer, nullable=False),
    Column("next_at", Float, nullable=False),  # not before
    Column("answer", Text),  # what came of the last try
    Column("owner_host", String(255)),
    Column("owner_pid", Integer),
    Column("owner_started_at", Float),
    Column("created_at", Float, nullable=False),
    Column("ended_at", Float),
    UniqueConstraint("rule", "event_id"),
    Index(None, "status", "next_at"),
)

event.listen(metadata, "after_create", lambda _, connection, **__: outbox.create(connection))
