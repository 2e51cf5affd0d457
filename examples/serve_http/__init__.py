"""Serves a SavedModel of c3tf over HTTP; needs neither c3tf nor Keras."""
