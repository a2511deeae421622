"""What follows a training: the card of the model, merging, export, and the proof that an export answers the same."""
