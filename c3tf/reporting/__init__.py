"""One HTML page about run directories."""
