"""Where each data set keeps its images and labels."""
