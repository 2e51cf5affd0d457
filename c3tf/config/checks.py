"""What the options of a configuration must fulfil together."""

from c3tf.config.conditions import check_meaning
from c3tf.config.methods import C3, METHODS, SUPERVISED, UNIMATCH
from c3tf.config.networks import BACKBONES, DEEPLAB_V2, DEEPLAB_V3PLUS
from c3tf.config.option import ConfigError
from c3tf.config.schema import Sections
from c3tf.config.values import ALL, parse_labeled


def check_combination(config: Sections) -> None:
    """Refuses values that contradict each other, before any time is spent."""
    data, method, training = config.data, config.method, config.training
    check_meaning(config)
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
