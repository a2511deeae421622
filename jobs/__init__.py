"""Job files and where they run."""
