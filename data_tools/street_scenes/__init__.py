"""Procedural street scenes: layout, painting, weather, and the tree that is written."""
