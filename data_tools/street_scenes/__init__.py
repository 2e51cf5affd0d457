"""Procedural street scenes: layout, drawing, weather, and the tree that is written."""
