"""Files and memory: whole-file writes, JSON, images, checks of output, what any module may use."""
