"""Jobs of several processes, which find each other by variables."""
