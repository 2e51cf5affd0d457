"""Networks, batches and a configuration small enough to take the method's train step in a test."""

import contextlib
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from c3tf.config import OPTIONS, Config
from c3tf.data.batch import SemiBatch, SupervisedBatch, TwoViewBatch
from c3tf.labels import IGNORE
from c3tf.method import cutmix
from c3tf.training import optimizer
from c3tf.training.methods import TRAINERS
from c3tf.training.trainer import SemiSupervisedTrainer

HEIGHT, WIDTH, STRIDE, NUM_CLASSES = 32, 64, 8, 5


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Builds what is inside in the given dtype policy, float64 included."""
    floatx, old_policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(policy if policy == "float64" else "float32")
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(old_policy)


def config(**options) -> Config:
    """Four labeled and four unlabeled images in two mix groups; some pixels are confident."""
    own = {
        "global_batch_size": 8,
        "mix_group": 2,
        "supervised_steps": 3,
        "steps": 40,
        "crop_height": HEIGHT,
        "crop_width": WIDTH,
        "consistency_ramp_steps": 5,
        "contrast_samples": 4,
        "dcrs_start": 0.6,
        "mean_teacher_threshold": 0.6,
        "classmix_threshold": 0.6,
        "unimatch_threshold": 0.6,
        "learning_rate": 1e-3,
    }
    if not options.get("contrast_weight", 1):
        del own["contrast_samples"]
    return Config().with_options(**{**read_by(options.get("method", "c3"), own), **options})


def read_by(method: str, options: dict) -> dict:
    """Leaves out the options that another method reads."""
    methods = {name: OPTIONS[name].field.metadata["methods"] for name in options}
    return {
        name: value
        for name, value in options.items()
        if not methods[name] or method in methods[name]
    }


def network(name: str, seed: int) -> keras.Model:
    """Builds a network at output stride 8 with the outputs and the parts of a real one."""

    def initial(index: int) -> keras.initializers.Initializer:
        return keras.initializers.RandomNormal(stddev=0.3, seed=10 * seed + index)

    images = keras.Input((None, None, 3), name="images")
    x = keras.layers.Rescaling(1 / 64, offset=-2.0)(images)
    x = keras.layers.Conv2D(
        12,
        3,
        strides=STRIDE,
        padding="same",
        activation="relu",
        name="backbone_stem",
        kernel_initializer=initial(0),
    )(x)
    # Frozen, as in the paper's networks: student and teacher share it.
    x = keras.layers.BatchNormalization(name="backbone_norm", trainable=False)(x)
    logits = keras.layers.Conv2D(
        NUM_CLASSES, 3, padding="same", name="classifier", kernel_initializer=initial(1)
    )(x)
    embedding = keras.layers.Conv2D(6, 1, name="projection", kernel_initializer=initial(2))(x)
    return keras.Model(images, {"logits": logits, "embedding": embedding}, name=name)


def segmenter(
    settings: Config, adam: Callable[[], keras.optimizers.Optimizer] | None = None
) -> SemiSupervisedTrainer:
    """Creates a compiled trainer in its supervised phase; student and teacher differ."""
    student = network("student", seed=1)
    trainer = TRAINERS[settings.method.name]
    teacher = network("teacher", seed=2) if settings.needs.teacher else None
    model = trainer(student, teacher, NUM_CLASSES, settings)
    own = (
        adam()
        if adam
        else optimizer.build(settings, lambda v: False, lambda v: "projection" in v.path)
    )
    own.build(student.trainable_variables)
    model.compile(optimizer=own, jit_compile=False, auto_scale_loss=False)
    return model


def semi_batch(settings: Config, seed: int = 0) -> SemiBatch:
    """Draws a semi-supervised batch of NumPy arrays; its labels get fewer from row to row."""
    rng = np.random.default_rng(seed)
    rows = settings.labeled_batch_size
    shape = (rows, HEIGHT, WIDTH)
    size, mixing = settings.method.mix_group, settings.method.mixing
    y = rng.integers(0, NUM_CLASSES, (rows, HEIGHT // 8, WIDTH // 8))
    y = y.repeat(8, axis=1).repeat(8, axis=2)
    y[rng.random(shape) < np.linspace(0.1, 0.9, rows)[:, None, None]] = IGNORE
    order = cutmix.draw_order(
        tf.constant(rng.random((rows // size, 2 * size))),
        "cross_set" if mixing == "none" else mixing,
    )
    batch = SemiBatch(
        x=_blobs(rng, rows),
        y=y.astype(np.uint8),
        u_w=_blobs(rng, rows),
        u_s=_blobs(rng, rows),
        u_valid=rng.random(shape) > np.linspace(0.05, 0.5, rows)[:, None, None],
        mix_order=order.numpy().reshape(rows, 2),
        mix_boxes=cutmix.boxes_from_uniform(
            tf.constant(rng.random((rows, 3))), HEIGHT, WIDTH
        ).numpy(),
        seed=rng.integers(0, 2**31, (rows, 2)),
    )
    if settings.needs.strong_views == 1:
        return batch
    return TwoViewBatch(u_s2=_blobs(rng, rows), **batch._asdict())


def dataset(batches: list[SemiBatch], *, supervised: bool = False) -> tf.data.Dataset:
    """Serves batches in order, or their labeled half."""
    stacked = type(batches[0])(*map(np.stack, zip(*batches, strict=True)))
    served = tf.data.Dataset.from_tensor_slices(stacked)
    # Batched by the data set itself, so that a distribution strategy can cut the batch.
    served = served.unbatch().batch(len(batches[0].x), drop_remainder=True)
    return served.map(lambda b: SupervisedBatch(b.x, b.y, b.seed)) if supervised else served


def tensors(batch: SemiBatch) -> SemiBatch:
    """Turns a batch of arrays into tensors, as the pipeline gives them."""
    return type(batch)(*map(tf.constant, batch))


def labeled(batch: SemiBatch) -> SupervisedBatch:
    """Takes the labeled half of a batch, as tensors."""
    return SupervisedBatch(*map(tf.constant, (batch.x, batch.y, batch.seed)))


def _blobs(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Draws images that vary over the feature grid."""
    coarse = rng.integers(0, 256, (rows, HEIGHT // 8, WIDTH // 8, 3))
    fine = coarse.repeat(8, axis=1).repeat(8, axis=2)
    return (fine // 2 + rng.integers(0, 128, fine.shape)).astype(np.uint8)
