"""Opens what a run needs before its first step: the split and the networks."""

import keras

from c3tf.config import Config, ConfigError, parse_labeled
from c3tf.data import manifest as manifests
from c3tf.data import splits
from c3tf.labels import LabelMap
from c3tf.nets import deeplab
from c3tf.training import optimizer, precision
from c3tf.training.step import Segmenter


def open_split(manifest: manifests.Manifest, config: Config) -> splits.Split:
    """Reads or draws the labeled/unlabeled split of a run.

    Raises:
        DataError: it does not fit the data set.
    """
    names = manifest.names("train")
    if config.data.labeled_list:
        return splits.read(config.data.labeled_list, names)
    count = parse_labeled(config.data.labeled, len(names))
    return splits.draw(names, count, config.data.split_seed)


def build_model(config: Config, label_map: LabelMap) -> Segmenter:
    """Builds student, teacher and optimizer, to be called inside the strategy's scope.

    Args:
        config: the run's configuration.
        label_map: the classes.

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
        )
    teacher = None
    if config.method.name == "c3":
        # The same description without the weights: those are copied when the teacher begins.
        teacher = keras.Model.from_config({**student.get_config(), "name": "teacher"})
    model = Segmenter(student, teacher, label_map.num_classes, config)
    adam = optimizer.build(config, deeplab.is_backbone, deeplab.is_projection)
    adam.build(student.trainable_variables)
    # The networks alone are compiled with XLA, and the optimizer scales gradients itself.
    model.compile(optimizer=adam, jit_compile=False, auto_scale_loss=False)
    return model


def check_continues(config: Config, step: int, has_teacher: bool) -> None:
    """Refuses durations that a run has left behind.

    Args:
        config: the run's configuration, perhaps with changed flags.
        step: steps that the run has done.
        has_teacher: whether its semi-supervised phase has begun.

    Raises:
        ConfigError: names the flag and the least or largest value.
    """
    if step > config.training.steps:
        raise ConfigError(
            f"`--steps` must be at least {step}, which the run has done. "
            f"Received: --steps={config.training.steps}"
        )
    if has_teacher and step < config.first_semi_step:
        method = config.method
        share = f" --supervised_share={method.supervised_share}"
        share = share if method.supervised_share != 1 else ""
        times = " times `--supervised_share`" if share else ""
        raise ConfigError(
            f"`--supervised_steps`{times} must be at most {step}: the run's teacher has begun. "
            f"Received: --supervised_steps={method.supervised_steps}{share}"
        )
