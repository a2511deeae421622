"""A script of the corpus."""
