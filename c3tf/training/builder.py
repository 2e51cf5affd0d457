"""The builder of student, teacher and optimizer from a run's configuration."""

import keras
import numpy as np

from c3tf.config import Config
from c3tf.labels import LabelMap
from c3tf.nets import deeplab
from c3tf.training import optimizer, precision
from c3tf.training.methods import TRAINERS
from c3tf.training.trainer import SemiSupervisedTrainer


def build_model(
    config: Config, label_map: LabelMap, class_weights: np.ndarray | None = None
) -> SemiSupervisedTrainer:
    """Builds student, teacher and optimizer, to be called inside the strategy's scope.

    Args:
        config: the run's configuration.
        label_map: the classes.
        class_weights: `(C,)` their weights in the supervised loss; None weighs all alike.

    Returns:
        The compiled model in its supervised phase.

    Raises:
        UserError: the initial weights cannot be used.
    """
    network = config.network
    with precision.policy(config.training.precision):
        student = deeplab.build(
            backbone=network.backbone,
            num_classes=label_map.num_classes,
            output_stride=network.output_stride,
            embedding_dim=network.embedding_dim if config.uses_contrast else None,
            backbone_weights=network.backbone_weights,
            train_batch_norm=network.train_batch_norm,
            seed=config.training.seed,
            aspp_dilations=network.aspp_dilations,
            stride_kernel={"weights": None, "1x1": 1, "3x3": 3}[network.stride_placement],
            max_pool_ceil=network.max_pool_ceil,
            align_corners=network.align_corners,
            head=network.head,
            train_head_batch_norm=network.train_head_batch_norm,
        )
    teacher = None
    if config.needs.teacher:
        # The same description without the weights: those are copied when the teacher begins.
        teacher = keras.Model.from_config({**student.get_config(), "name": "teacher"})
    model = TRAINERS[config.method.name](student, teacher, label_map.num_classes, config)
    model.class_weights = class_weights
    adam = optimizer.build(config, deeplab.is_backbone, deeplab.is_projection)
    adam.build(student.trainable_variables)
    # The networks alone are compiled with XLA, and the optimizer scales gradients itself.
    model.compile(optimizer=adam, jit_compile=False, auto_scale_loss=False)
    return model
