"""C3-SemiSeg (ICCV 2021): semi-supervised semantic segmentation in Keras 3 on TensorFlow."""

from c3tf import versions

__version__ = versions.VERSION
