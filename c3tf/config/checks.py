"""What the options of a configuration must fulfil together."""

import dataclasses
from collections.abc import Callable

from c3tf.config.methods import C3, METHODS, SUPERVISED, UNIMATCH
from c3tf.config.networks import BACKBONES, DEEPLAB_V2, DEEPLAB_V3PLUS
from c3tf.config.option import ConfigError
from c3tf.config.schema import OPTIONS, Sections
from c3tf.config.values import ALL, parse_labeled


def check_combination(config: Sections) -> None:
    """Refuses values that contradict each other, before any time is spent."""
    data, method, training = config.data, config.method, config.training
    _check_meaning(config)
    parse_labeled(data.labeled)
    if data.labeled_list and data.labeled != ALL:
        raise ConfigError(
            f"`--labeled_list` names the labeled images, so `--labeled` must be {ALL}, which also "
            f"sets aside a flag file's. Received: --labeled_list={data.labeled_list} "
            f"--labeled={data.labeled}"
        )
    if not method.class_weights:
        raise ConfigError(
            "`--class_weights` must be none, inverse_frequency or a JSON file. Received: nothing"
        )
    _check_sources(config)
    _check_views(config)
    _check_network(config)
    if training.evaluate_every % training.checkpoint_every:
        raise ConfigError(
            "`--evaluate_every` must be a multiple of `--checkpoint_every`, so that the best "
            "network is kept; the same number will do. Received: "
            f"--evaluate_every={training.evaluate_every} "
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
    if training.jit and config.trains_batch_norm and training.strategy != "one":
        named = "train_batch_norm" if config.network.train_batch_norm else "train_head_batch_norm"
        raise ConfigError(
            f"`--jit` with `--{named}` needs `--strategy=one`: batch norm sums its moments "
            "over the replicas from inside the network, which XLA does not compile. "
            f"Received: --strategy={training.strategy}"
        )
    others = {
        "jit": training.jit,
        "train_batch_norm": config.network.train_batch_norm,
        "train_head_batch_norm": config.trains_head_batch_norm,
    }
    for other in [name for name, given in others.items() if given and training.recompute]:
        raise ConfigError(
            f"`--recompute` must not go with `--{other}`, which runs the networks in a way of its "
            f"own. Received: --recompute --{other}"
        )
    if method.name == C3:
        _check_c3(config)
    elif config.needs.unlabeled:
        _check_rival(config)
    # The baseline of a file whose method exports its teacher exports what it has.
    having_none = not config.needs.teacher and method.name != SUPERVISED
    if training.export_weights == "teacher" and having_none:
        having = ", ".join(f"`--method={name}`" for name, needs in METHODS.items() if needs.teacher)
        raise ConfigError(
            f"`--export_weights=teacher` must go with one of {having}: `{method.name}` has no "
            "teacher."
        )


def _check_sources(config: Sections) -> None:
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


def _check_views(config: Sections) -> None:
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


def _check_network(config: Sections) -> None:
    network = config.network
    facts = BACKBONES[network.backbone]
    if network.output_stride not in facts.output_strides:
        raise ConfigError(
            f"`--output_stride` must be {' or '.join(map(str, facts.output_strides))} for "
            f"`--backbone={network.backbone}`, one of whose layers cannot be dilated. "
            f"Received: {network.output_stride}"
        )
    if network.train_batch_norm and not facts.batch_norm:
        raise ConfigError(
            "`--train_batch_norm` must go with a backbone that has batch norm: "
            f"{network.backbone} has layer norm, which is always trained."
        )
    if config.training.recompute and not facts.batch_norm:
        raise ConfigError(
            "`--recompute` must go with a backbone that has batch norm: one with layer norm is run "
            f"as Keras runs it. Received: --recompute --backbone={network.backbone}"
        )
    if network.head == DEEPLAB_V2 and not network.aspp_dilations:
        raise ConfigError("`--aspp_dilations` must name at least one dilation. Received: none")
    if network.head != DEEPLAB_V3PLUS:
        return
    for name in ("align_corners", "max_pool_ceil"):
        if getattr(network, name):
            raise ConfigError(
                f"`--{name}` must go with --head=deeplab_v2: the decoder of {network.head} joins "
                f"maps that lie on blocks of pixels. Received: --{name}=True"
            )


def _check_c3(config: Sections) -> None:
    method, training = config.method, config.training
    if config.first_semi_step >= training.steps:
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


def _check_rival(config: Sections) -> None:
    method = config.method
    if method.mix_group < 2:
        raise ConfigError(
            f"`--mix_group` must be at least 2 for `--method={method.name}`, which mixes the "
            f"unlabeled images of a group with each other. Received: {method.mix_group}"
        )
    weights = method.unimatch_feature_weight, method.unimatch_strong_weight
    if method.name == UNIMATCH and not any(weights):
        raise ConfigError(
            "`--unimatch_feature_weight` and `--unimatch_strong_weight` must not both be 0: "
            "nothing would be learned from unlabeled images. Use `--method=supervised` for the "
            "baseline."
        )


@dataclasses.dataclass(frozen=True)
class _Condition:
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


# Only options that a preset does not set: whoever adds one switch to a preset means that switch.
_CONDITIONS = (
    _Condition(
        ("train_head_batch_norm",),
        "--head=deeplab_v3plus",
        lambda config: config.network.head == DEEPLAB_V3PLUS,
        "deeplab_v2 has no batch norm of its own",
        of_baseline=True,
    ),
    _Condition(
        ("aspp_dilations",),
        "--head=deeplab_v2",
        lambda config: config.network.head == DEEPLAB_V2,
        "deeplab_v3plus has the dilations that were published",
        of_baseline=True,
    ),
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
        ("randaugment_ops", "randaugment_magnitude", "randaugment_std", "randaugment_probability"),
        "--student_view=strong or --teacher_view=strong",
        lambda config: "strong" in (config.augment.student_view, config.augment.teacher_view),
        "no view is strong",
    ),
    _Condition(
        ("dcrs_decay", "dcrs_start"),
        "--dcrs_ratio below 1",
        lambda config: config.method.dcrs_ratio < 1,
        "DCRS is off and has no thresholds",
    ),
    _Condition(
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
        ("unimatch_dropout",),
        "--unimatch_feature_weight above 0",
        lambda config: config.method.unimatch_feature_weight > 0,
        "the loss under dropped features is off",
    ),
    _Condition(
        ("gather_contrast_keys",),
        "--strategy=auto, --strategy=mirrored or --strategy=multi_worker",
        lambda config: config.training.strategy != "one",
        "one device has all keys",
    ),
    _Condition(
        ("consistency_ramp_start",),
        "--consistency_ramp_steps above 0",
        lambda config: config.method.consistency_ramp_steps > 0,
        "without a ramp lambda1 is the same from the first step on",
    ),
    _Condition(
        ("image_log_interval",),
        "--tensorboard",
        lambda config: config.training.tensorboard,
        "there is nothing to write pictures to",
        of_baseline=True,
    ),
    _Condition(
        ("split_seed",),
        "--labeled, not --labeled_list",
        lambda config: not config.data.labeled_list,
        "the list names the labeled images",
        of_baseline=True,
    ),
)


def _check_meaning(config: Sections) -> None:
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
    for rule in _CONDITIONS:
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
