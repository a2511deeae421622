"""Ways to work on mini-batches that need no script of the job. They run in the job's own Python."""
