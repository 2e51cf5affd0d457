"""A network small enough for tests, with the outputs and the parts of a real one."""

import keras
import numpy as np

from c3tf.labels import LabelMap

LABEL_MAP = LabelMap(
    name="tiny",
    class_names=("ground", "wall", "plant", "sky"),
    colors=((128, 64, 128), (70, 70, 70), (107, 142, 35), (70, 130, 180)),
    raw_ids=(7, 11, 21, 23),
)
EMBEDDING_DIM = 6


def build(seed: int = 0, label_map: LabelMap = LABEL_MAP, head: str = "classifier") -> keras.Model:
    """Builds a network at output stride 4 whose classes vary over a noise image."""
    images = keras.Input((None, None, 3), name="images")
    x = keras.layers.Rescaling(1 / 64, offset=-2.0)(images)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="body")(x)
    logits = keras.layers.Conv2D(label_map.num_classes, 1, name=head)(x)
    embedding = keras.layers.Conv2D(EMBEDDING_DIM, 1, name="projection")(x)
    model = keras.Model(images, {"logits": logits, "embedding": embedding}, name="tiny")
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        values = rng.normal(0, 0.5, weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def noise(seed: int, height: int, width: int, batch: int | None = None) -> np.ndarray:
    """Draws images of blurred noise, uint8 `(H, W, 3)` or `(B, H, W, 3)`."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (batch or 1, -(-height // 4), -(-width // 4), 3), np.uint8)
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]
    return fine if batch else fine[0]
