"""The conversion engine: from image files to TFRecord shards and a manifest."""
