"""Changing what answers behind an endpoint step by step, and taking the change back when it shows to be worse."""
