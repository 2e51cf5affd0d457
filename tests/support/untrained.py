"""Networks as no training has left them, where zeros and ones would hide mistakes."""

import keras
import numpy as np


def randomise(network: keras.Model, seed: int = 0) -> keras.Model:
    """Gives batch norm and biases values that none of them begins with."""
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        kind = weight.path.split("/")[-1]
        if kind in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.7, 1.3, weight.shape))
        elif kind in ("beta", "moving_mean", "bias"):
            weight.assign(rng.normal(0, 0.2, weight.shape))
    return network
