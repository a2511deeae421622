"""Models on a shelf: the embedded ones first; what they are, where they came from, what they need."""
