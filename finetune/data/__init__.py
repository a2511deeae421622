"""Training data: rows as people have them, checked, rendered as the engine will render them, and packed."""
