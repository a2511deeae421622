"""Ways of training, one file each."""
