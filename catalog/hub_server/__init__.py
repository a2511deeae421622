"""A Hub of our own: local models told to other machines in the Hugging Face Hub's own HTTP API, for reading."""
