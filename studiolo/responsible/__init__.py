"""Responsible AI where it meets the workspace: models and data by name, a process for the model, kept reports."""
