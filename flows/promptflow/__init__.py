"""What flow code imports from `promptflow`, where that is not installed."""
