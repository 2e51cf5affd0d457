"""Values of the configuration: what is refused, and how it is said."""

import dataclasses
import json
import math
import subprocess
import sys
import typing

import pytest

from c3tf.config import OPTIONS, SECTIONS, Config, ConfigError
from c3tf.errors import UserError

pytestmark = pytest.mark.smoke

BASE = Config()


def read(config, flag):
    """The value of the option that a flag sets."""
    section, field = OPTIONS[flag]
    return getattr(getattr(config, section), field.name)


RIVALS_OPTIONS = [
    name
    for name, (_, field) in OPTIONS.items()
    if field.metadata["methods"] and "c3" not in field.metadata["methods"]
]
BAD_VALUES = [
    ("prepare", "cityscapes"),
    ("labeled", "0"),
    ("labeled", "-3"),
    ("labeled", "many"),
    ("labeled", "1.5"),
    ("labeled", ""),
    ("split_seed", -1),
    ("split_seed", 2**32),
    ("unlabeled_source", "disk"),
    ("shuffle_buffer", 0),
    ("cache", "ram"),
    ("input_threads", -1),
    ("rotation_order", "none"),
    ("crop_height", 0),
    ("crop_width", -1),
    ("max_rotation", -1.0),
    ("max_rotation", 46.0),
    ("max_rotation", math.nan),
    ("scales", (0.0,)),
    ("scales", (1.0, -0.5)),
    ("scales", (math.nan,)),
    ("jitter_strengths", (0.5, 0.5, 0.5)),
    ("jitter_strengths", (-0.1, 0.5, 0.5, 0.1)),
    ("jitter_strengths", (0.5, 0.5, 0.5, 0.51)),
    ("jitter_strengths", ()),
    ("jitter_probabilities", (0.5, 0.5, 0.5, 1.1)),
    ("jitter_probabilities", (1.0,) * 5),
    ("jitter_probabilities", (-0.1, 0.5, 0.5, 0.5)),
    ("randaugment_ops", 0),
    ("randaugment_magnitude", -0.1),
    ("randaugment_magnitude", 10.1),
    ("randaugment_std", -0.1),
    ("randaugment_probability", -0.1),
    ("randaugment_probability", 1.1),
    ("teacher_view", "none"),
    ("student_view", "Strong"),
    ("backbone", "resnet18"),
    ("head", "deeplab_v3"),
    ("output_stride", 12),
    ("output_stride", 0),
    ("embedding_dim", 0),
    ("aspp_dilations", (6, 0)),
    ("stride_placement", "2x2"),
    ("method", "fixmatch"),
    ("supervised_steps", -1),
    ("supervised_share", 0.0),
    ("supervised_share", 1.01),
    ("ema_decay", -0.1),
    ("ema_decay", 1.0),
    ("ema_decay", math.nan),
    ("mixing", "cross"),
    ("mix_group", 0),
    ("loss_averaging", "pixel"),
    ("class_weights", ""),
    ("consistency_weight", -1.0),
    ("consistency_weight", math.nan),
    ("consistency_ramp_steps", -1),
    ("consistency_ramp_start", "method"),
    ("contrast_ramp_steps", -1),
    ("dcrs_ratio", 0.0),
    ("dcrs_ratio", 1.01),
    ("dcrs_ratio", math.nan),
    ("dcrs_decay", -0.1),
    ("dcrs_decay", 1.0),
    ("dcrs_start", -0.1),
    ("dcrs_start", 1.1),
    ("contrast_weight", -0.1),
    ("temperature", 0.0),
    ("temperature", -0.15),
    ("contrast_samples", 0),
    ("contrast_sampling", "hard"),
    ("contrast_sources", "none"),
    ("labeled_keys", "both"),
    ("contrast_min_pixels", 0),
    ("contrast_scale", 0.0),
    ("mean_teacher_weight", 0.0),
    ("mean_teacher_threshold", -0.1),
    ("mean_teacher_threshold", 1.1),
    ("classmix_weight", 0.0),
    ("classmix_threshold", -0.1),
    ("classmix_threshold", 1.1),
    ("unimatch_threshold", -0.1),
    ("unimatch_threshold", 1.1),
    ("unimatch_feature_weight", -0.1),
    ("unimatch_strong_weight", -0.1),
    ("unimatch_dropout", -0.1),
    ("unimatch_dropout", 1.0),
    ("steps", 0),
    ("global_batch_size", 1),
    ("global_batch_size", 7),
    ("global_batch_size", 0),
    ("learning_rate", 0.0),
    ("learning_rate", -1e-4),
    ("learning_rate", math.nan),
    ("poly_power", -0.1),
    ("backbone_lr_multiplier", -0.1),
    ("seed", -1),
    ("seed", 2**31),
    ("strategy", "parameter_server"),
    ("replicas", -1),
    ("log_every", 0),
    ("image_log_interval", -1),
    ("precision", "half"),
    ("checkpoint_every", 0),
    ("evaluate_every", 0),
    ("keep_checkpoints", 0),
    ("export_weights", "best"),
]

CONTRADICTIONS = [
    ({"shuffle_buffer": 64}, ("shuffle_buffer", "unlabeled_source=stream")),
    ({"cache": "memory", "unlabeled_source": "stream"}, ("cache", "unlabeled_source")),
    ({"cache": "disk"}, ("cache_dir", "cache")),
    ({"cache": "memory", "cache_dir": "some/folder"}, ("cache_dir", "cache")),
    ({"cache": "disk", "cache_dir": "gs://bucket"}, ("cache_dir",)),
    ({"max_rotation": 7.5}, ("max_rotation", "integer_degrees")),
    ({"labeled_list": "some.txt", "labeled": "100"}, ("labeled_list", "labeled")),
    ({"replicas": 2, "strategy": "one"}, ("replicas", "strategy")),
    ({"replicas": 2}, ("replicas", "strategy")),
    ({"steps": 100, "supervised_steps": 100}, ("supervised_steps", "steps")),
    (
        {"consistency_weight": 0.0, "contrast_weight": 0.0},
        ("consistency_weight", "contrast_weight", "method"),
    ),
    ({"mix_group": 3}, ("mix_group", "global_batch_size")),
    (
        {"mixing": "none", "loss_averaging": "group", "mix_group": 3},
        ("mix_group", "global_batch_size"),
    ),
    ({"mix_group": 8, "global_batch_size": 8}, ("mix_group", "global_batch_size")),
    ({"mixing": "intra_set", "mix_group": 1}, ("mix_group", "mixing")),
    ({"method": "unimatch", "mix_group": 1}, ("mix_group", "method=unimatch")),
    (
        {"method": "unimatch", "unimatch_feature_weight": 0.0, "unimatch_strong_weight": 0.0},
        ("unimatch_feature_weight", "unimatch_strong_weight", "method"),
    ),
]


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_bad_value_is_refused_by_its_flag(name, value):
    with pytest.raises(ConfigError) as refused:
        BASE.with_options(**{name: value})
    message = str(refused.value)
    assert f"--{name}`" in message
    assert "Received: " in message
    assert "\n" not in message


@pytest.mark.parametrize(("options", "named"), CONTRADICTIONS)
def test_contradiction_names_both_flags(options, named):
    with pytest.raises(ConfigError) as refused:
        BASE.with_options(**options)
    message = str(refused.value)
    assert all(f"--{name}" in message for name in named)
    assert "\n" not in message


@pytest.mark.parametrize("name", ["learning_rate", "consistency_weight", "temperature", "scales"])
def test_infinity_is_refused(name):
    with pytest.raises(ConfigError, match=f"--{name}"):
        BASE.with_options(**{name: (math.inf,) if name == "scales" else math.inf})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", "many"),
        ("steps", 30000.5),
        ("labeled", 100),
        ("learning_rate", "fast"),
        ("flip", 3),
        ("steps", 2**63),
        ("data", "caf\udce9"),
        ("data", "a\0b"),
    ],
)
def test_wrong_type_is_refused(name, value):
    with pytest.raises(ConfigError, match=f"--{name}"):
        BASE.with_options(**{name: value})


def test_a_count_in_other_digits_is_refused():
    """`str.isdigit` holds for the superscript two, which is no number to `int`."""
    with pytest.raises(ConfigError, match="--labeled"):
        BASE.with_options(labeled="\N{SUPERSCRIPT TWO}")


def test_every_bounded_option_has_a_bad_value_above():
    checked = {name for name, _ in BAD_VALUES}
    limits = {"choices", "at_least", "at_most", "above", "below"}
    bounded = {name for name, (_, field) in OPTIONS.items() if limits & set(field.metadata)}
    assert bounded <= checked


def test_limits_themselves_are_allowed():
    for options in (
        {"labeled": "1"},
        {"split_seed": 2**32 - 1},
        {"max_rotation": 0.0},
        {"max_rotation": 45.0},
        {"dcrs_ratio": 1.0},
        {"ema_decay": 0.0},
        {"contrast_weight": 0.0},
        {"consistency_weight": 0.0},
        {"consistency_ramp_steps": 0},
        {"supervised_steps": 0},
        {"supervised_steps": BASE.training.steps - 1},
        {"global_batch_size": 2, "mix_group": 1},
        {"scales": ()},
        {"replicas": 2, "strategy": "mirrored"},
        {"labeled_list": "some.txt"},
        {"backbone_lr_multiplier": 0.0},
        {"jitter_strengths": (0.0, 0.0, 0.0, 0.5)},
    ):
        changed = BASE.with_options(**options)
        for name, value in options.items():
            assert read(changed, name) == value


def test_what_a_method_does_not_use_does_not_bind_it():
    """The baseline ignores the semi-supervised schedule; without mixing there are no groups."""
    BASE.with_options(method="supervised", steps=10, supervised_steps=2500)
    BASE.with_options(mixing="none", mix_group=7)


def test_defaults_are_the_papers():
    expected = {
        "crop_height": 256,
        "crop_width": 512,
        "global_batch_size": 32,
        "steps": 25000,
        "learning_rate": 0.00012,
        "poly_power": 0.9,
        "ema_decay": 0.99,
        "dcrs_ratio": 0.8,
        "dcrs_decay": 0.9,
        "temperature": 0.15,
        "consistency_weight": 50.0,
        "consistency_ramp_steps": 4000,
        "contrast_weight": 0.1,
        "supervised_steps": 2500,
        "contrast_samples": 20,
        "embedding_dim": 256,
        "max_rotation": 10.0,
        "jitter_probabilities": (0.5, 0.5, 0.5, 0.25),
        "randaugment_ops": 2,
        "randaugment_magnitude": 10.0,
        "randaugment_std": 0.5,
        "output_stride": 8,
        "backbone": "resnet101",
        "head": "deeplab_v2",
        "loss_averaging": "image",
        "labeled_keys": "teacher",
        "contrast_exclude_self": False,
        "contrast_skip_class_0": False,
        "contrast_scale": 1.0,
        "consistency_class_mean": True,
        "ema_warmup": False,
        "train_batch_norm": False,
        "aspp_dilations": (6, 12, 18, 24),
        "supervised_share": 1.0,
        "contrast_ramp_steps": 0,
        "contrast_from_start": False,
        "gather_contrast_keys": True,
        "scale_unlabeled": True,
    }
    for name, value in expected.items():
        assert read(BASE, name) == value, name


def changed_everywhere():
    """A valid configuration that differs from the defaults in every option."""
    options = {
        "data": "d",
        "prepare": "street_scenes",
        "labeled": "all",
        "split_seed": 12345,
        "labeled_list": "s",
        "unlabeled_source": "stream",
        "shuffle_buffer": 2,
        "cache": "none",
        "cache_dir": "",
        "input_threads": 3,
        "crop_height": 32,
        "crop_width": 64,
        "flip": False,
        "max_rotation": 5.0,
        "integer_degrees": False,
        "rotation_order": "last",
        "scales": (0.5, 2.0),
        "scale_unlabeled": False,
        "jitter_strengths": (0.1, 0.2, 0.3, 0.4),
        "jitter_probabilities": (1.0,) * 4,
        "randaugment": True,
        "randaugment_ops": 1,
        "randaugment_magnitude": 5.0,
        "randaugment_std": 0.0,
        "randaugment_probability": 1.0,
        "teacher_view": "strong",
        "student_view": "weak",
        "backbone": "resnet50",
        "head": "deeplab_v2",
        "backbone_weights": "random",
        "output_stride": 16,
        "train_batch_norm": False,
        "train_head_batch_norm": True,
        "aspp_dilations": (6, 12),
        "stride_placement": "3x3",
        "max_pool_ceil": True,
        "align_corners": True,
        "embedding_dim": 8,
        "method": "c3",
        "supervised_steps": 5,
        "supervised_share": 0.9,
        "ema_decay": 0.5,
        "ema_warmup": True,
        "mixing": "intra_set",
        "mix_group": 2,
        "loss_averaging": "batch",
        "class_weights": "inverse_frequency",
        "consistency_weight": 1.0,
        "consistency_ramp_steps": 3,
        "consistency_ramp_start": "training",
        "consistency_class_mean": False,
        "dcrs_ratio": 0.5,
        "dcrs_decay": 0.5,
        "dcrs_start": 0.5,
        "contrast_weight": 0.5,
        "contrast_ramp_steps": 7,
        "contrast_from_start": True,
        "temperature": 0.5,
        "contrast_samples": 4,
        "contrast_sampling": "segmentation_aware",
        "contrast_fill_up": False,
        "contrast_sources": "labeled",
        "gather_contrast_keys": False,
        "labeled_keys": "student",
        "contrast_exclude_self": True,
        "contrast_min_pixels": 21,
        "contrast_skip_class_0": True,
        "contrast_scale": 1.5,
        # Each is read by another method, whose own tests change it.
        **{name: OPTIONS[name].field.default for name in RIVALS_OPTIONS},
        "output": "o",
        "steps": 50,
        "global_batch_size": 8,
        "learning_rate": 0.01,
        "poly_power": 1.0,
        "backbone_lr_multiplier": 0.1,
        "seed": 9,
        "strategy": "mirrored",
        "replicas": 2,
        "allow_changed_flags": True,
        "precision": "mixed_bfloat16",
        "jit": True,
        "recompute": False,
        "log_every": 7,
        "tensorboard": False,
        "image_log_interval": OPTIONS["image_log_interval"].field.default,
        "checkpoint_every": 8,
        "evaluate_every": 16,
        "keep_checkpoints": 3,
        "export_weights": "teacher",
        "baseline": True,
    }
    # A count or its seed and a list exclude each other, as do a stream and a cache; the others have
    # the one value that goes with all the rest.
    return options, {
        "labeled",
        "split_seed",
        "image_log_interval",
        "method",
        "cache",
        "cache_dir",
        "randaugment",
        "contrast_sampling",
        "head",
        "train_batch_norm",
        "recompute",
        "train_head_batch_norm",
        *RIVALS_OPTIONS,
    }


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"crop_height": 260}, "--crop_height"),
        ({"crop_width": 520, "output_stride": 16}, "--crop_width"),
        ({"jitter_strengths": (1.5, 0.5, 0.5, 0.25)}, "--jitter_strengths"),
        ({"jitter_strengths": (0.5, 0.5, 0.5, 0.75)}, "--jitter_strengths"),
        ({"integer_degrees": True, "max_rotation": 7.5}, "--max_rotation"),
        ({"scales": (0.001,)}, "--scales"),
        ({"evaluate_every": 750}, "--evaluate_every"),
        ({"method": "unimatch", "export_weights": "teacher"}, "--export_weights"),
    ],
)
def test_what_would_fail_later_is_refused_at_the_start(options, flag):
    with pytest.raises(ConfigError, match=flag):
        BASE.with_options(**options)


def test_the_sample_covers_every_option():
    options, unchanged = changed_everywhere()
    assert options.keys() == OPTIONS.keys()
    for name, value in options.items():
        assert (value == OPTIONS[name][1].default) == (name in unchanged), name


def test_round_trip_through_json():
    options, _ = changed_everywhere()
    changed = BASE.with_options(**options)
    for settings in (BASE, changed):
        plain = json.loads(json.dumps(settings.to_dict()))
        assert Config.from_dict(plain) == settings
    assert changed != BASE


def test_with_options_leaves_the_original_alone():
    before = BASE.to_dict()
    BASE.with_options(steps=10, supervised_steps=1)
    assert BASE.to_dict() == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        BASE.training.steps = 3


def test_unknown_options_and_sections_are_refused():
    with pytest.raises(ConfigError, match="stepz"):
        BASE.with_options(stepz=3)
    plain = BASE.to_dict()
    plain["training"]["stepz"] = 3
    with pytest.raises(ConfigError, match=r"training.*stepz"):
        Config.from_dict(plain)
    with pytest.raises(ConfigError, match="trainings"):
        Config.from_dict({"trainings": {}})


def test_option_names_belong_to_one_section():
    names = [
        field.name for section in SECTIONS for field in dataclasses.fields(getattr(BASE, section))
    ]
    assert len(names) == len(set(names))


def test_every_option_is_explained_and_typed_like_its_default():
    for name, (section, field) in OPTIONS.items():
        text = field.metadata["help"]
        assert text.endswith("."), name
        kind = typing.get_type_hints(SECTIONS[section])[field.name]
        assert isinstance(field.default, typing.get_origin(kind) or kind), name


def test_properties():
    assert BASE.labeled_batch_size == 16
    assert BASE.first_semi_step == 2500
    assert BASE.uses_contrast
    assert not BASE.with_options(contrast_weight=0.0).uses_contrast
    baseline = BASE.with_options(method="supervised")
    assert baseline.first_semi_step == baseline.training.steps
    assert not baseline.uses_contrast


ECHO = """
import json, sys
from absl import flags
from c3tf.config import ConfigError, absl_flags
absl_flags.define_flags()
flags.FLAGS(["program", *sys.argv[1:]])
try:
    print(json.dumps(absl_flags.from_flags().to_dict()))
except ConfigError as error:
    sys.exit(f"refused: {error}")
"""


def from_flags(repository, *arguments):
    """Absl flags are global, so each parse has a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", ECHO, *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )


def test_flags_without_arguments_are_the_defaults(repository):
    done = from_flags(repository)
    assert Config.from_dict(json.loads(done.stdout)) == BASE, done.stderr


def test_every_option_has_a_flag_that_reaches_it(repository):
    options, _ = changed_everywhere()
    words = []
    for name, value in options.items():
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no'}{name}")
        elif isinstance(value, tuple):
            words.append(f"--{name}=" + ",".join(map(str, value)))
        else:
            words.append(f"--{name}={value}")
    done = from_flags(repository, *words)
    assert Config.from_dict(json.loads(done.stdout)) == BASE.with_options(**options), done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--scales=1,big"],
            "refused: `--scales` must be numbers separated by commas. Received: 1,big",
        ),
        (
            ["--aspp_dilations=6,1.5"],
            "refused: `--aspp_dilations` must be whole numbers separated by commas. "
            "Received: 6,1.5",
        ),
        (["--dcrs_ratio=2"], "refused: `--dcrs_ratio` must be at most 1.0. Received: 2.0"),
        (["--output_stride=12"], "refused: `--output_stride` must be one of 8, 16. Received: 12"),
    ],
)
def test_flags_are_checked(repository, words, message):
    done = from_flags(repository, *words)
    assert done.returncode == 1
    assert done.stderr.strip() == message


def test_an_empty_list_of_scales(repository):
    done = from_flags(repository, "--scales=0.75,1.0", "--scales=")
    assert json.loads(done.stdout)["augment"]["scales"] == []


@pytest.mark.parametrize("bad", ["--steps=ten", "--steps=1.5", "--backbone=vgg", "--flip=perhaps"])
def test_absl_refuses_what_it_cannot_parse(repository, bad):
    done = from_flags(repository, bad)
    assert done.returncode != 0
    assert bad.split("=")[0].lstrip("-") in done.stderr.splitlines()[-1]


def test_config_errors_are_user_errors():
    assert issubclass(ConfigError, UserError)
