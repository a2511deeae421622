"""Modules of packages that are closed or gone, for scoring scripts where the real ones are not installed."""
