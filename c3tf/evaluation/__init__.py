"""Measures of class maps against labels: counts, metrics, the evaluator, thresholds."""
