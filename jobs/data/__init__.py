"""Data that jobs read and write: where it is, how it gets here, how tables are read."""
