"""The summary that a run prints at its start."""

from collections import Counter
from collections.abc import Sequence

import tensorflow as tf

from c3tf.config import Config
from c3tf.config.networks import DEEPLAB_V2
from c3tf.data.training_data import TrainingData
from c3tf.versions import versions


def device_names(strategy: tf.distribute.Strategy) -> list[str]:
    """Names the device of every replica: `CPU`, or what a GPU calls itself."""
    if strategy.num_replicas_in_sync == 1:
        used = (
            tf.config.list_logical_devices("GPU")[:1] or tf.config.list_logical_devices("CPU")[:1]
        )
        return [_name(device.name) for device in used]
    return [_name(device) for device in strategy.extended.worker_devices]


def describe(
    config: Config,
    data: TrainingData,
    *,
    title: str,
    parameters: int,
    devices: Sequence[str],
    split_hash: str,
    validation_images: int,
) -> str:
    """Describes data, batch, steps, epochs, devices and versions of a run.

    Args:
        config: the run's configuration.
        data: what it trains on.
        title: what the run is called.
        parameters: trained parameters of the student.
        devices: one name per replica.
        split_hash: identity of the labeled/unlabeled split.
        validation_images: images that evaluations run over.

    Returns:
        Lines of text.
    """
    training, size = config.training, config.labeled_batch_size
    semi_steps = training.steps - config.first_semi_step
    semi = config.needs.unlabeled
    phases = f"{training.steps} steps of {size} labeled images"
    if semi and not config.first_semi_step:
        phases = f"{semi_steps} steps of {size} labeled images and {size} unlabeled ones"
    elif semi:
        phases = (
            f"{config.first_semi_step} steps of {size} labeled images, then {semi_steps} with "
            f"{size} unlabeled ones"
        )
    epochs = f"{training.steps * size / data.num_labeled:.1f} epochs of the labeled images"
    if semi:
        epochs += f", {semi_steps * size / data.num_unlabeled:.1f} of the unlabeled ones"
    per_step = f"{2 * size} images ({size} labeled, {size} unlabeled)" if semi else f"{size} images"
    named = ", ".join(f"{count} x {name}" for name, count in Counter(devices).items())
    network = config.network
    head = "" if network.head == DEEPLAB_V2 else f"{network.head} on "
    lines = [
        f"{title}: {head}{network.backbone} at stride {network.output_stride}, "
        f"{parameters / 1e6:.1f} M trained parameters",
        f"  data {config.data.data}: {data.num_labeled} labeled (split {split_hash}), "
        f"{data.num_unlabeled} unlabeled, {validation_images} validation images, "
        f"{data.num_classes} classes",
        f"  steps: {phases}; {epochs}",
        f"  effective batch: {per_step} over {len(devices)} replica(s): {named}",
        f"  learning rate {training.learning_rate:g}, seed {training.seed}, output "
        f"{training.output}",
        "  " + ", ".join(f"{name} {version}" for name, version in versions().items()),
    ]
    return "\n".join(lines)


def _name(device: str) -> str:
    """Returns what to call a logical device, given its full name."""
    spec = tf.DeviceSpec.from_string(device)
    physical = tf.config.list_physical_devices(spec.device_type)
    if spec.device_type != "GPU" or spec.device_index >= len(physical):
        return spec.device_type
    details = tf.config.experimental.get_device_details(physical[spec.device_index])
    return details.get("device_name", spec.device_type)
