"""What a model of a table does to whom, and why: groups, errors, explanations, other outcomes, and what mends it."""
