"""Training: the train step and everything around it."""
