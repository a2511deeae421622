"""Batch endpoints as Azure ML CLI v2 describes them: files in, predictions out, as jobs of this machine."""
