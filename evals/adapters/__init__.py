"""Other people's evaluations: their tasks run by their own packages, or their files read, and the results are ours."""
