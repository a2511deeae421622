"""Classical training: what a table holds, a file for each way of learning, and models that load without a pickle."""
