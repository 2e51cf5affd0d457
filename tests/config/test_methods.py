"""What a method needs, and that it refuses the options of another one."""

import pytest

from c3tf.config import OPTIONS, Config, ConfigError
from c3tf.config.methods import METHODS

pytestmark = pytest.mark.smoke

RIVALS = ("cutmix_mean_teacher", "classmix", "unimatch")
OWNED = {name: option.field for name, option in OPTIONS.items() if option.field.metadata["methods"]}


def other_value(field):
    """A value that is neither the default nor out of range."""
    if "choices" in field.metadata:
        return next(value for value in field.metadata["choices"] if value != field.default)
    if isinstance(field.default, tuple):
        return tuple(other_number(item) for item in field.default)
    return other_number(field.default)


def other_number(value):
    if isinstance(value, bool):
        return not value
    return 9 if isinstance(value, int) else 0.25


VALUES = {name: other_value(field) for name, field in OWNED.items()}


def test_every_kind_of_option_has_another_value():
    """Of the kinds that the configuration has, also those that no method owns yet."""
    kinds = {type(option.field.default): option.field for option in OPTIONS.values()}
    assert {bool, int, float, str, tuple} == set(kinds)
    for kind in (bool, int, float, tuple):
        assert type(other_value(kinds[kind])) is kind
        assert other_value(kinds[kind]) != kinds[kind].default


@pytest.mark.parametrize("method", ["c3", *RIVALS])
def test_options_of_other_methods_are_refused_by_name(method):
    refused = {
        n: f.metadata["methods"] for n, f in OWNED.items() if method not in f.metadata["methods"]
    }
    assert refused
    for name, owners in refused.items():
        with pytest.raises(ConfigError) as error:
            Config().with_options(method=method, **{name: VALUES[name]})
        message = str(error.value)
        assert message.startswith(f"`--{name}` must go with --method="), message
        assert all(f"--method={owner}" in message for owner in owners), message
        assert f"{method} does not read it. Received: --{name}={VALUES[name]}" in message
        assert "\n" not in message


@pytest.mark.parametrize("method", RIVALS)
def test_a_rival_takes_its_own_options_and_the_round_trip_keeps_them(method):
    own = {n: VALUES[n] for n, f in OWNED.items() if method in f.metadata["methods"]}
    assert len(own) >= 3
    changed = Config().with_options(method=method, **own)
    assert changed != Config().with_options(method=method)
    assert Config.from_dict(changed.to_dict()) == changed


def test_the_baseline_is_exempt():
    """`--method=supervised` makes the baseline of any configuration, also of a rival's."""
    for name in OWNED:
        Config().with_options(method="supervised", **{name: VALUES[name]})


def test_published_thresholds_and_weights_are_the_defaults():
    method = Config().method
    assert (method.mean_teacher_threshold, method.mean_teacher_weight) == (0.97, 1.0)
    assert (method.classmix_threshold, method.classmix_weight) == (0.968, 1.0)
    assert method.unimatch_threshold == 0.95
    assert (method.unimatch_feature_weight, method.unimatch_strong_weight) == (0.5, 0.5)
    assert method.unimatch_dropout == 0.5
    starts = {name: Config().with_options(method=name).first_threshold for name in METHODS}
    assert list(starts.values()) == [0.9, 0.9, 0.97, 0.968, 0.95]


@pytest.mark.parametrize("method", RIVALS)
def test_rivals_have_no_supervised_phase_and_mix_in_groups(method):
    config = Config().with_options(method=method)
    assert config.first_semi_step == 0
    assert config.uses_groups
    assert not config.uses_contrast
    assert config.averaging == "batch"
    assert config.needs.teacher == (method != "unimatch")
    assert config.needs.strong_views == (2 if method == "unimatch" else 1)
    with pytest.raises(ConfigError, match="--mix_group"):
        Config().with_options(method=method, global_batch_size=32, mix_group=3)


def test_averaging_is_the_option_where_a_method_leaves_it_open():
    for method in ("c3", "supervised"):
        assert Config().with_options(method=method, loss_averaging="group").averaging == "group"
