"""Events: what happens to jobs, models, data and deployments, told to whoever a rule names."""
