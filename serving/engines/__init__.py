"""The processes that load weights and generate; only the gateway speaks to them."""
