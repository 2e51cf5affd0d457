"""Tables of runs: what a table needs, the queue that trains it, and what came out."""
