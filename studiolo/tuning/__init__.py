"""Where training meets the rest of the house: how a model is tuned, looked at, exported and served, one file each."""
