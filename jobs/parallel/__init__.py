"""Parallel jobs: a script that is given mini-batches of its input, many at the same time."""
