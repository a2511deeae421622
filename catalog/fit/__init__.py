"""Will it run here? Memory and speed of a model, reckoned from its configuration and the headers of its files."""
