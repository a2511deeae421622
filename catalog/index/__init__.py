"""The shelf of models in DuckDB: what providers list becomes immutable snapshots that are searched in milliseconds."""
