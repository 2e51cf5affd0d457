"""What a run logs: progress lines, metrics, TensorBoard, pictures."""
