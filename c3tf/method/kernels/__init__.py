"""The costly parts of the method, fast; each is tested against `c3tf.method.plain`."""
