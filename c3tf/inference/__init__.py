"""Networks on images of any size, test-time augmentation, and prediction of image files."""
