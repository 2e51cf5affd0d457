"""A network in two parts: its backbone, and its heads on the features that leave the backbone."""

import keras

from c3tf.nets import backbones


def split(network: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cuts a network where features pass from its backbone to its heads.

    Args:
        network: made by `deeplab.build`; it stays as it is.

    Returns:
        The encoder, from images to features, one for every place where the backbone feeds a head
        (Keras returns a single one alone); and the decoder, from a list of these to the network's
        outputs. Both are made of the network's own layers and weights.

    Raises:
        ValueError: no layer of the network belongs to a backbone.
    """
    features: list[keras.KerasTensor] = []
    for layer in network.layers:
        if isinstance(layer, keras.layers.InputLayer) or _is_backbone(layer):
            continue
        for tensor in keras.tree.flatten(layer.input):
            seen = any(tensor is other for other in features)
            if not seen and _is_backbone(tensor._keras_history.operation):
                features.append(tensor)
    if not features:
        raise ValueError(
            "`network` must have layers whose names begin with "
            f"{backbones.PREFIX!r}. Received: network={network.name!r}"
        )
    return keras.Model(network.input, features), keras.Model(features, network.output)


def _is_backbone(layer: keras.Operation) -> bool:
    return layer.name.startswith(backbones.PREFIX)
