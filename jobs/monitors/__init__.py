"""Monitors: what a model in service is given and gives, measured against how it was, and who is told."""
