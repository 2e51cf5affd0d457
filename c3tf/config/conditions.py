"""Options that say nothing where another option takes their meaning away."""

import dataclasses
from collections.abc import Callable

from c3tf.config.methods import C3, SUPERVISED
from c3tf.config.networks import DEEPLAB_V2, DEEPLAB_V3PLUS
from c3tf.config.option import ConfigError
from c3tf.config.schema import OPTIONS, Sections


@dataclasses.dataclass(frozen=True)
class Condition:
    """What must hold for options to mean something.

    Attributes:
        options: options that say nothing, or the contrary, where the condition does not hold.
        condition: the condition in flags.
        holds: tells whether it holds.
        reason: what is the matter otherwise.
        of_baseline: the supervised baseline reads these options too.
    """

    options: tuple[str, ...]
    condition: str
    holds: Callable[[Sections], bool]
    reason: str
    of_baseline: bool = False


# What says how RandAugment works, not whether.
_RANDAUGMENT = (
    "randaugment_ops",
    "randaugment_magnitude",
    "randaugment_std",
    "randaugment_probability",
)

# Only options that a preset does not set: whoever adds one switch to a preset means that switch.
CONDITIONS = (
    Condition(
        ("train_head_batch_norm",),
        "--head=deeplab_v3plus",
        lambda config: config.network.head == DEEPLAB_V3PLUS,
        "deeplab_v2 has no batch norm of its own",
        of_baseline=True,
    ),
    Condition(
        ("aspp_dilations",),
        "--head=deeplab_v2",
        lambda config: config.network.head == DEEPLAB_V2,
        "deeplab_v3plus has the dilations that were published",
        of_baseline=True,
    ),
    Condition(
        _RANDAUGMENT,
        "--randaugment=true",
        lambda config: config.augment.randaugment,
        "RandAugment is off",
    ),
    Condition(
        _RANDAUGMENT,
        "--student_view=strong or --teacher_view=strong",
        lambda config: "strong" in (config.augment.student_view, config.augment.teacher_view),
        "no view is strong",
    ),
    Condition(
        ("dcrs_decay", "dcrs_start"),
        "--dcrs_ratio below 1",
        lambda config: config.method.dcrs_ratio < 1,
        "DCRS is off and has no thresholds",
    ),
    Condition(
        (
            "embedding_dim",
            "temperature",
            "contrast_samples",
            "contrast_sources",
            "contrast_sampling",
            "contrast_fill_up",
            "gather_contrast_keys",
        ),
        "--contrast_weight above 0",
        lambda config: config.method.contrast_weight > 0,
        "the contrastive loss is off",
    ),
    Condition(
        ("contrast_fill_up",),
        "--contrast_sampling=segmentation_aware",
        lambda config: config.method.contrast_sampling == "segmentation_aware",
        "random samples are of one kind",
    ),
    Condition(
        ("contrast_from_start",),
        "--labeled_keys=student",
        lambda config: config.method.labeled_keys == "student",
        "there is no teacher yet in the supervised phase",
    ),
    Condition(
        ("contrast_from_start",),
        "--contrast_sources=both or --contrast_sources=labeled",
        lambda config: config.method.contrast_sources != "unlabeled",
        "the supervised phase sees labeled images only",
    ),
    Condition(
        ("unimatch_dropout",),
        "--unimatch_feature_weight above 0",
        lambda config: config.method.unimatch_feature_weight > 0,
        "the loss under dropped features is off",
    ),
    Condition(
        ("gather_contrast_keys",),
        "--strategy=auto, --strategy=mirrored or --strategy=multi_worker",
        lambda config: config.training.strategy != "one",
        "one device has all keys",
    ),
    Condition(
        ("consistency_ramp_start",),
        "--consistency_ramp_steps above 0",
        lambda config: config.method.consistency_ramp_steps > 0,
        "without a ramp lambda1 is the same from the first step on",
    ),
    Condition(
        ("image_log_interval",),
        "--tensorboard",
        lambda config: config.training.tensorboard,
        "there is nothing to write pictures to",
        of_baseline=True,
    ),
    Condition(
        ("split_seed",),
        "--labeled, not --labeled_list",
        lambda config: not config.data.labeled_list,
        "the list names the labeled images",
        of_baseline=True,
    ),
)


def check_meaning(config: Sections) -> None:
    """Refuses options that were changed where another option takes their meaning away.

    The baseline of a configuration is that configuration with another `--method`, so what means
    nothing to it alone is let through.
    """
    own = config.method.name
    is_baseline = own == SUPERVISED
    for name, (_, field) in OPTIONS.items():
        methods = () if is_baseline else field.metadata["methods"]
        if methods and own not in methods and (changed := _changed(config, name)):
            reading = " or ".join(f"--method={method}" for method in methods)
            rivals = "" if own == C3 else f". Files in configs/rivals/ have what {own} reads"
            raise ConfigError(
                f"`--{name}` must go with {reading}: {own} does not read it. {changed}{rivals}"
            )
    for rule in CONDITIONS:
        if is_baseline and not rule.of_baseline:
            continue
        for name in rule.options:
            if rule.holds(config) or not (changed := _changed(config, name)):
                continue
            raise ConfigError(f"`--{name}` must go with {rule.condition}: {rule.reason}. {changed}")


def _changed(config: Sections, name: str) -> str:
    """Returns how an option differs from its default, or nothing."""
    section, field = OPTIONS[name]
    value = getattr(getattr(config, section), field.name)
    return f"Received: --{name}={value}" if value != field.default else ""
