"""What a configuration must fulfil: types and ranges of values, and what they mean together."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from c3tf.errors import UserError

if TYPE_CHECKING:
    from c3tf.config.schema import Config

# The value of `--labeled` that keeps every label.
ALL = "all"


class ConfigError(UserError):
    """A value of the configuration is not allowed, alone or beside the others."""


def check_values(section: Any) -> None:
    """Refuses values of a wrong type or out of range, naming the flag."""
    types = get_type_hints(type(section))
    for field in dataclasses.fields(section):
        value, kind = getattr(section, field.name), types[field.name]
        several = get_origin(kind) is tuple
        if several and not isinstance(value, tuple):
            raise ConfigError(f"`--{field.name}` must be a tuple. Received: {value!r}")
        for item in value if several else (value,):
            _check_type(field.name, item, get_args(kind)[0] if several else kind)
            _check_range(field.name, item, field.metadata)


def _check_type(name: str, value: Any, kind: type) -> None:
    # An int is a fine float; a bool is an int to Python, but never meant as a number here.
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (kind is not bool and isinstance(value, bool)):
        raise ConfigError(f"`--{name}` must be of type {kind.__name__}. Received: {value!r}")
    if kind is float and not math.isfinite(value):
        raise ConfigError(f"`--{name}` must be finite. Received: {value}")


def _check_range(name: str, value: Any, checks: Mapping[str, Any]) -> None:
    refused = None
    if "choices" in checks and value not in checks["choices"]:
        refused = f"one of {', '.join(str(choice) for choice in checks['choices'])}"
    elif "at_least" in checks and value < checks["at_least"]:
        refused = f"at least {checks['at_least']}"
    elif "at_most" in checks and value > checks["at_most"]:
        refused = f"at most {checks['at_most']}"
    elif "above" in checks and value <= checks["above"]:
        refused = f"above {checks['above']}"
    elif "below" in checks and value >= checks["below"]:
        refused = f"below {checks['below']}"
    if refused:
        raise ConfigError(f"`--{name}` must be {refused}. Received: {value}")


def check_combination(config: "Config") -> None:
    """Refuses values that contradict each other, before any time is spent."""
    data, method, training = config.data, config.method, config.training
    _check_meaning(config)
    if data.labeled != ALL and (not data.labeled.isdecimal() or int(data.labeled) == 0):
        raise ConfigError(
            f"`--labeled` must be a positive count or `{ALL}`. Received: {data.labeled}"
        )
    if data.split and data.labeled != ALL:
        raise ConfigError(
            "`--split` lists the labeled images, so `--labeled` must not be given as well. "
            f"Received: --split={data.split} --labeled={data.labeled}"
        )
    _check_sources(config)
    _check_views(config)
    if training.evaluate_every % training.checkpoint_every:
        raise ConfigError(
            "`--evaluate_every` must be a multiple of `--checkpoint_every`, so that the best "
            f"network is kept. Received: --evaluate_every={training.evaluate_every} "
            f"--checkpoint_every={training.checkpoint_every}"
        )
    if training.global_batch_size % 2:
        raise ConfigError(
            "`--global_batch_size` must be even: half labeled, half unlabeled. "
            f"Received: {training.global_batch_size}"
        )
    if training.replicas and training.strategy != "mirrored":
        raise ConfigError(
            "`--replicas` must go with `--strategy=mirrored`. "
            f"Received: --replicas={training.replicas} --strategy={training.strategy}"
        )
    if config.uses_groups and config.labeled_batch_size % method.mix_group:
        raise ConfigError(
            "`--mix_group` must divide half of `--global_batch_size`. Received: "
            f"--mix_group={method.mix_group} --global_batch_size={training.global_batch_size}"
        )
    if training.jit and config.network.train_batch_norm and training.strategy != "one":
        raise ConfigError(
            "`--jit` with `--train_batch_norm` needs `--strategy=one`: batch norm sums its moments "
            "over the replicas from inside the network, which XLA does not compile. "
            f"Received: --strategy={training.strategy}"
        )
    if method.method == "c3":
        _check_c3(config)
    elif training.baseline:
        raise ConfigError(
            "`--baseline` must go with `--method=c3`: with `--method=supervised` the run is the "
            "baseline."
        )
    elif training.export_weights == "teacher":
        raise ConfigError(
            "`--export_weights=teacher` must go with `--method=c3`: the baseline has no teacher."
        )


def _check_sources(config: "Config") -> None:
    data = config.data
    if data.cache != "none" and data.unlabeled_source == "stream":
        raise ConfigError(
            "`--cache` keeps every image at hand, so it must go with --unlabeled_source=memory. "
            f"Received: --cache={data.cache} --unlabeled_source={data.unlabeled_source}"
        )
    if data.unlabeled_source != "stream" and data.shuffle_buffer != type(data).shuffle_buffer:
        raise ConfigError(
            "`--shuffle_buffer` must go with --unlabeled_source=stream: in memory all images are "
            f"shuffled. Received: --shuffle_buffer={data.shuffle_buffer}"
        )
    if (data.cache == "disk") != bool(data.cache_dir):
        raise ConfigError(
            "`--cache_dir` must be given with `--cache=disk`, and only then. "
            f"Received: --cache={data.cache} --cache_dir={data.cache_dir or 'nothing'}"
        )
    if "://" in data.cache_dir:
        raise ConfigError(f"`--cache_dir` must be local. Received: {data.cache_dir}")


def _check_views(config: "Config") -> None:
    augment = config.augment
    for name in ("jitter_strengths", "jitter_probabilities"):
        if len(getattr(augment, name)) != 4:
            raise ConfigError(
                f"`--{name}` must hold four numbers: brightness, contrast, saturation, hue. "
                f"Received: {getattr(augment, name)}"
            )
    if max(augment.jitter_strengths) > 1 or augment.jitter_strengths[3] > 0.5:
        raise ConfigError(
            "`--jitter_strengths` must be at most 1, and 0.5 (half of the colour circle) for hue. "
            f"Received: {augment.jitter_strengths}"
        )
    if augment.integer_degrees and augment.max_rotation % 1:
        raise ConfigError(
            "`--max_rotation` must be whole degrees, or go with `--integer_degrees=false`. "
            f"Received: {augment.max_rotation}"
        )
    stride = config.network.output_stride
    for name in ("crop_height", "crop_width"):
        if getattr(augment, name) % stride:
            raise ConfigError(
                f"`--{name}` must be a multiple of `--output_stride` ({stride}), or logits and "
                f"labels would not lie on each other. Received: {getattr(augment, name)}"
            )


def _check_c3(config: "Config") -> None:
    method, training = config.method, config.training
    if config.supervised_steps >= training.steps:
        raise ConfigError(
            "`--supervised_steps` must be below `--steps`, or the method never starts. "
            f"Received: --supervised_steps={method.supervised_steps} --steps={training.steps}"
        )
    if method.consistency_weight == 0 and method.contrast_weight == 0:
        raise ConfigError(
            "`--consistency_weight` and `--contrast_weight` must not both be 0: nothing would be "
            "learned from unlabeled images. Use `--method=supervised` for the baseline."
        )
    if method.mixing == "intra_set" and method.mix_group % 2:
        raise ConfigError(
            "`--mix_group` must be even for `--mixing=intra_set`, where images of one set are "
            f"paired. Received: --mix_group={method.mix_group}"
        )


@dataclasses.dataclass(frozen=True)
class _Condition:
    """What must hold for options to mean something.

    Attributes:
        options: options that say nothing, or the contrary, where the condition does not hold.
        condition: the condition in flags.
        holds: tells whether it holds.
        reason: what is the matter otherwise.
    """

    options: tuple[str, ...]
    condition: str
    holds: Callable[["Config"], bool]
    reason: str


# Only options that a preset does not set: whoever adds one switch to a preset means that switch.
_CONDITIONS = (
    _Condition(
        (
            "randaugment_ops",
            "randaugment_magnitude",
            "randaugment_std",
            "randaugment_probability",
        ),
        "--randaugment=true",
        lambda config: config.augment.randaugment,
        "RandAugment is off",
    ),
    _Condition(
        ("dcrs_decay", "dcrs_start"),
        "--dcrs_ratio below 1",
        lambda config: config.method.dcrs_ratio < 1,
        "DCRS is off and has no thresholds",
    ),
    _Condition(
        ("contrast_sources", "contrast_sampling", "contrast_fill_up", "gather_contrast_keys"),
        "--contrast_weight above 0",
        lambda config: config.method.contrast_weight > 0,
        "the contrastive loss is off",
    ),
    _Condition(
        ("contrast_fill_up",),
        "--contrast_sampling=segmentation_aware",
        lambda config: config.method.contrast_sampling == "segmentation_aware",
        "random samples are of one kind",
    ),
    _Condition(
        ("contrast_from_start",),
        "--labeled_keys=student",
        lambda config: config.method.labeled_keys == "student",
        "there is no teacher yet in the supervised phase",
    ),
    _Condition(
        ("contrast_from_start",),
        "--contrast_sources=both or --contrast_sources=labeled",
        lambda config: config.method.contrast_sources != "unlabeled",
        "the supervised phase sees labeled images only",
    ),
    _Condition(
        ("gather_contrast_keys",),
        "--strategy=auto, --strategy=mirrored or --strategy=multi_worker",
        lambda config: config.training.strategy != "one",
        "one device has all keys",
    ),
)


def _check_meaning(config: "Config") -> None:
    """Refuses options that were changed where another option takes their meaning away."""
    if config.method.method != "c3":
        return
    for rule in _CONDITIONS:
        for name in rule.options:
            if rule.holds(config) or not (changed := _changed(config, name)):
                continue
            raise ConfigError(f"`--{name}` must go with {rule.condition}: {rule.reason}. {changed}")


def _changed(config: "Config", name: str) -> str:
    """Returns how an option differs from its default, or nothing."""
    for section in dataclasses.fields(config):
        options = getattr(config, section.name)
        for field in dataclasses.fields(options):
            value = getattr(options, field.name)
            if field.name == name and value != field.default:
                return f"Received: --{name}={value}"
    return ""
