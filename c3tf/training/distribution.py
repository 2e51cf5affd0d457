"""The devices of a run."""

import tensorflow as tf

from c3tf.config import Config
from c3tf.config_checks import ConfigError


def create_strategy(config: Config) -> tf.distribute.Strategy:
    """Creates the distribution strategy of a run and checks that its batch can be divided.

    Args:
        config: the run's configuration.

    Returns:
        TensorFlow's default strategy for one device, else a `MirroredStrategy`.

    Raises:
        ConfigError: there are fewer devices than asked for, or the replicas' shares of the batch
            would cut a mix group.
    """
    training = config.training
    gpus = tf.config.list_logical_devices("GPU")
    mirrored = training.strategy == "mirrored" or (training.strategy == "auto" and len(gpus) > 1)
    if not mirrored:
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    wanted = training.replicas or len(devices)
    if wanted > len(devices):
        raise ConfigError(
            f"`--replicas` must be at most {len(devices)}, the number of local "
            f"{devices[0].device_type}s. Received: --replicas={wanted}"
        )
    if training.strategy == "auto":
        # As many as can share the batch: one device always can.
        size = config.labeled_batch_size
        wanted = next(n for n in range(wanted, 0, -1) if size % _share_unit(config, n) == 0)
    check_divisible(config, wanted)
    return tf.distribute.MirroredStrategy([device.name for device in devices[:wanted]])


def check_divisible(config: Config, num_replicas: int) -> None:
    """Refuses a batch that the replicas cannot share without cutting a mix group.

    Raises:
        ConfigError: names the sizes and what they must be.
    """
    if config.labeled_batch_size % _share_unit(config, num_replicas):
        group = f" times `--mix_group` ({config.method.mix_group})" if config.uses_groups else ""
        raise ConfigError(
            f"Half of `--global_batch_size` must be a multiple of the replicas ({num_replicas})"
            f"{group}. Received: --global_batch_size={config.training.global_batch_size}"
        )


def _share_unit(config: Config, num_replicas: int) -> int:
    """Returns the number of labeled images that the labeled batch must be a multiple of."""
    return num_replicas * (config.method.mix_group if config.uses_groups else 1)
