"""Language models that learn: what a training file says, and one file per way of training."""
