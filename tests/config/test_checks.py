"""Options that another option makes meaningless are refused at the start."""

import pytest

from c3tf.config import Config, ConfigError, conditions

pytestmark = pytest.mark.smoke

BASE = Config()

# Changed options, and the option that takes their meaning away (or is missing).
MEANINGLESS = [
    ({"randaugment_ops": 3}, {"randaugment": False}),
    ({"randaugment_magnitude": 5.0}, {"randaugment": False}),
    ({"randaugment_std": 0.0}, {"randaugment": False}),
    ({"randaugment_probability": 1.0}, {"randaugment": False}),
    ({"randaugment_ops": 3}, {"student_view": "weak"}),
    ({"randaugment_magnitude": 5.0}, {"student_view": "weak"}),
    ({"randaugment_std": 0.0}, {"student_view": "weak"}),
    ({"randaugment_probability": 1.0}, {"student_view": "weak"}),
    ({"dcrs_decay": 0.5}, {"dcrs_ratio": 1.0}),
    ({"dcrs_start": 0.5}, {"dcrs_ratio": 1.0}),
    ({"embedding_dim": 128}, {"contrast_weight": 0.0}),
    ({"temperature": 0.5}, {"contrast_weight": 0.0}),
    ({"contrast_samples": 50}, {"contrast_weight": 0.0}),
    ({"contrast_sources": "labeled"}, {"contrast_weight": 0.0}),
    ({"contrast_sampling": "random"}, {"contrast_weight": 0.0}),
    ({"contrast_fill_up": False}, {"contrast_weight": 0.0}),
    ({"gather_contrast_keys": False}, {"contrast_weight": 0.0}),
    ({"contrast_fill_up": False}, {"contrast_sampling": "random"}),
    ({"contrast_from_start": True}, {"labeled_keys": "teacher"}),
    ({"contrast_from_start": True}, {"contrast_sources": "unlabeled", "labeled_keys": "student"}),
    ({"gather_contrast_keys": False}, {"strategy": "one"}),
    ({"train_head_batch_norm": False}, {"head": "deeplab_v2"}),
    ({"aspp_dilations": (6, 12)}, {"head": "deeplab_v3plus"}),
    ({"unimatch_dropout": 0.3}, {"unimatch_feature_weight": 0.0, "method": "unimatch"}),
    ({"consistency_ramp_start": "training"}, {"consistency_ramp_steps": 0}),
    ({"image_log_interval": 10}, {"tensorboard": False}),
    ({"split_seed": 7}, {"labeled_list": "some.txt"}),
]


@pytest.mark.parametrize(("changed", "beside"), MEANINGLESS)
def test_meaningless_option_is_refused_with_the_flag_it_needs(changed, beside):
    (name,) = changed
    with pytest.raises(ConfigError) as refused:
        BASE.with_options(**changed, **beside)
    message = str(refused.value)
    assert message.startswith(f"`--{name}` must go with --")
    assert f"Received: --{name}={changed[name]}" in message
    assert any(f"--{other}" in message for other in beside)
    assert "\n" not in message


@pytest.mark.parametrize(("changed", "beside"), MEANINGLESS)
def test_either_of_the_two_alone_is_allowed(changed, beside):
    BASE.with_options(**beside)
    needed = {
        "contrast_from_start": {"labeled_keys": "student"},
        "train_head_batch_norm": {"head": "deeplab_v3plus"},
        "unimatch_dropout": {"method": "unimatch"},
    }
    (name,) = changed
    BASE.with_options(**changed, **needed.get(name, {}))


def test_every_condition_is_exercised():
    tried = {
        (name, option) for changed, beside in MEANINGLESS for name in changed for option in beside
    }
    for condition in conditions.CONDITIONS:
        for name in condition.options:
            assert any(
                own == name and f"--{other}" in condition.condition for own, other in tried
            ), (name, condition.condition)


def test_the_baseline_is_not_bound_by_options_of_the_method():
    """`--method=supervised` makes the baseline of any configuration; its network is its own."""
    for changed, beside in MEANINGLESS:
        options = {**changed, **beside, "method": "supervised"}
        if not beside.keys() & {"head", "tensorboard", "labeled_list"}:
            BASE.with_options(**options)
            continue
        with pytest.raises(ConfigError, match="must go with --"):
            BASE.with_options(**options)


def test_a_network_that_cannot_be_recomputed_or_has_no_branch_is_refused():
    BASE.with_options(backbone="convnext_tiny")
    with pytest.raises(ConfigError, match=r"`--recompute` .*Received: .*--backbone=convnext_tiny"):
        BASE.with_options(backbone="convnext_tiny", recompute=True)
    with pytest.raises(ConfigError, match="`--aspp_dilations` must name at least one"):
        BASE.with_options(aspp_dilations=())


@pytest.mark.parametrize("other", ["jit", "train_batch_norm"])
def test_networks_that_run_otherwise_cannot_be_recomputed(other):
    BASE.with_options(recompute=True)
    BASE.with_options(**{other: True})
    with pytest.raises(ConfigError, match=f"`--recompute` .*Received: --recompute --{other}"):
        BASE.with_options(recompute=True, **{other: True})


def test_the_supervised_phase_ends_after_its_share():
    assert BASE.with_options(supervised_share=0.9).first_semi_step == 2250
    bdd = BASE.with_options(supervised_share=0.9, supervised_steps=5000, steps=20000)
    assert bdd.first_semi_step == 4500
    # What counts is the phase that is made.
    BASE.with_options(supervised_share=0.5, supervised_steps=100, steps=100)
    with pytest.raises(ConfigError, match="supervised_steps"):
        BASE.with_options(supervised_share=0.999, supervised_steps=100, steps=100)


def test_the_projection_head_is_trained_from_where_contrast_begins():
    assert BASE.first_contrast_step == 2500
    early = BASE.with_options(contrast_from_start=True, labeled_keys="student")
    assert early.first_contrast_step == 0


def test_groups_matter_to_mixing_and_to_group_averaging():
    assert BASE.uses_groups
    assert not BASE.with_options(mixing="none").uses_groups
    assert not BASE.with_options(method="supervised").uses_groups
    assert BASE.with_options(mixing="none", loss_averaging="group").uses_groups
    assert BASE.with_options(method="supervised", loss_averaging="group").uses_groups


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"backbone": "densenet121"},
            "`--output_stride` must be 16 for `--backbone=densenet121`, one of whose layers cannot "
            "be dilated. Received: 8",
        ),
        (
            {"backbone": "convnext_tiny", "train_batch_norm": True},
            "`--train_batch_norm` must go with a backbone that has batch norm: convnext_tiny has "
            "layer norm, which is always trained.",
        ),
        (
            {"head": "deeplab_v3plus", "max_pool_ceil": True},
            "`--max_pool_ceil` must go with --head=deeplab_v2: the decoder of deeplab_v3plus joins "
            "maps that lie on blocks of pixels. Received: --max_pool_ceil=True",
        ),
        (
            {"head": "deeplab_v3plus", "align_corners": True},
            "`--align_corners` must go with --head=deeplab_v2: the decoder of deeplab_v3plus joins "
            "maps that lie on blocks of pixels. Received: --align_corners=True",
        ),
        (
            {"head": "deeplab_v3plus", "jit": True, "strategy": "mirrored"},
            "`--jit` with `--train_head_batch_norm` needs `--strategy=one`: batch norm sums its "
            "moments over the replicas from inside the network, which XLA does not compile. "
            "Received: --strategy=mirrored",
        ),
        (
            {"head": "deeplab_v3plus", "recompute": True},
            "`--recompute` must not go with `--train_head_batch_norm`, which runs the networks in "
            "a way of its own. Received: --recompute --train_head_batch_norm",
        ),
    ],
)
def test_networks_of_parts_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ConfigError) as refused:
        BASE.with_options(**options)
    assert str(refused.value) == message


def test_networks_of_other_parts_are_allowed():
    BASE.with_options(backbone="densenet121", output_stride=16)
    BASE.with_options(head="deeplab_v3plus", jit=True, strategy="one")
    frozen = {"train_head_batch_norm": False, "jit": True, "strategy": "mirrored"}
    BASE.with_options(head="deeplab_v3plus", **frozen)
    BASE.with_options(head="deeplab_v3plus", train_head_batch_norm=False, recompute=True)
