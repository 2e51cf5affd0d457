"""Exported models: SavedModel, Keras archive, TensorFlow Lite, model card."""
