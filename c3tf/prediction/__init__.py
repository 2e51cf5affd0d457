"""Predicts many image files: finds them, reads them ahead, and writes what was predicted."""
