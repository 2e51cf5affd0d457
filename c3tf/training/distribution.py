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
    check_divisible(config, wanted)
    return tf.distribute.MirroredStrategy([device.name for device in devices[:wanted]])


def check_divisible(config: Config, num_replicas: int) -> None:
    """Refuses a batch that the replicas cannot share without cutting a mix group.

    Raises:
        ConfigError: names the sizes and what they must be.
    """
    method = config.method
    mixes = method.method == "c3" and method.mixing != "none"
    unit = num_replicas * (method.mix_group if mixes else 1)
    if config.labeled_batch_size % unit:
        group = f" times `--mix_group` ({method.mix_group})" if mixes else ""
        raise ConfigError(
            f"Half of `--global_batch_size` must be a multiple of the replicas ({num_replicas})"
            f"{group}. Received: --global_batch_size={config.training.global_batch_size}"
        )
