"""Prompt flow formats, the graph runner, batch runs, tools, connections and traces."""
