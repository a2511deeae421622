"""AutoML: the machine tries models on a table, and what it leaves is one that can be trusted and served."""
