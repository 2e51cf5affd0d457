"""Turns run directories into one HTML page."""
