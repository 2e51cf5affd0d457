"""How a network's logits lie on its image; the network itself carries the answer."""

import keras

# Name of the layer that ends a network whose logits are resized with aligned corners. A layer's
# name survives archives, checkpoints, clones and cuts, so whoever resizes can ask the network.
LOGITS_ALIGN_CORNERS = "logits_align_corners"


def aligns_corners(network: keras.Model) -> bool:
    """Tells whether corner features belong on corner pixels, not in the middle of their pixels."""
    return any(layer.name == LOGITS_ALIGN_CORNERS for layer in network.layers)
