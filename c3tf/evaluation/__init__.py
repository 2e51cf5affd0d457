"""Measures class maps against labels, draws them and writes them to files."""
