"""Commands that make and inspect data sets, and convert weights."""
