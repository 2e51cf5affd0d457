"""Weak and strong views as tf.data operations on uint8 images."""
