"""From image files to batches: records, manifests, splits, the input pipeline."""
