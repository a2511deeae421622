"""The border: every kind of Azure ML CLI v2 file, read into frozen dataclasses or refused with its line."""
