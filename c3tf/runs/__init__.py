"""The life of a run: its directory, checkpoints, stopping, evaluation, results; no equation."""
