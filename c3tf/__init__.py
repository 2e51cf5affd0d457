"""C3-SemiSeg (ICCV 2021): semi-supervised semantic segmentation in Keras 3 on TensorFlow."""

__version__ = "0.1.0"
