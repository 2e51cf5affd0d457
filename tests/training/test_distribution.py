"""Which devices a run gets, and which batches they can share."""

import types

import pytest
import tensorflow as tf

from c3tf.config import Config
from c3tf.config_checks import ConfigError
from c3tf.training import distribution


def config(**options) -> Config:
    return Config().with_options(**{"global_batch_size": 32, "mix_group": 4, **options})


@pytest.fixture
def four_gpus(monkeypatch):
    """Pretends to have four GPUs; the list fills with the devices a strategy was made for."""
    made = []
    gpus = [types.SimpleNamespace(name=f"/GPU:{i}", device_type="GPU") for i in range(4)]

    def listed(kind):
        return gpus if kind == "GPU" else []

    monkeypatch.setattr(tf.config, "list_logical_devices", listed)
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", made.append)
    return made


def test_auto_takes_the_default_strategy_on_a_cpu():
    strategy = distribution.create_strategy(config(strategy="auto"))
    assert strategy is tf.distribute.get_strategy()
    assert strategy.num_replicas_in_sync == 1


def test_auto_takes_all_gpus(four_gpus):
    distribution.create_strategy(config(strategy="auto"))
    assert four_gpus == [["/GPU:0", "/GPU:1", "/GPU:2", "/GPU:3"]]


def test_one_takes_one_of_several_gpus(four_gpus):
    strategy = distribution.create_strategy(config(strategy="one"))
    assert strategy is tf.distribute.get_strategy()
    assert four_gpus == []


def test_replicas_limits_the_devices(four_gpus):
    distribution.create_strategy(config(strategy="mirrored", replicas=2))
    assert four_gpus == [["/GPU:0", "/GPU:1"]]


def test_mirrored_on_the_cpu_is_a_mirrored_strategy():
    strategy = distribution.create_strategy(config(strategy="mirrored"))
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    assert strategy.num_replicas_in_sync == len(tf.config.list_logical_devices("CPU"))


def test_more_replicas_than_devices_are_refused(four_gpus):
    with pytest.raises(ConfigError, match=r"at most 4, .*local GPUs\. Received: --replicas=5"):
        distribution.create_strategy(config(strategy="mirrored", replicas=5))
    assert four_gpus == []


def test_a_batch_that_cuts_a_mix_group_is_refused_before_a_strategy_is_made(four_gpus):
    with pytest.raises(ConfigError, match="--global_batch_size=24"):
        distribution.create_strategy(config(strategy="mirrored", global_batch_size=24))
    assert four_gpus == []


@pytest.mark.parametrize(
    ("replicas", "options"),
    [
        (1, {}),
        (4, {}),
        (16, {"mix_group": 1}),
        (8, {"mix_group": 2, "mixing": "intra_set"}),
        # Nobody is mixed, so no group can be cut.
        (16, {"mixing": "none"}),
        (16, {"method": "supervised"}),
        (5, {"method": "supervised", "global_batch_size": 10}),
    ],
)
def test_batches_that_can_be_shared(replicas, options):
    distribution.check_divisible(config(**options), replicas)


@pytest.mark.parametrize(
    ("replicas", "options", "message"),
    [
        (3, {}, r"multiple of the replicas \(3\) times `--mix_group` \(4\)\. .*=32"),
        (8, {}, r"multiple of the replicas \(8\) times `--mix_group` \(4\)"),
        (3, {"mixing": "none"}, r"multiple of the replicas \(3\)\. Received"),
        # The means are over groups.
        (8, {"mixing": "none", "loss_averaging": "group"}, r"times `--mix_group` \(4\)"),
        (8, {"method": "supervised", "loss_averaging": "group"}, r"times `--mix_group` \(4\)"),
        (3, {"method": "supervised"}, r"multiple of the replicas \(3\)\. Received"),
    ],
)
def test_batches_that_cannot_be_shared(replicas, options, message):
    with pytest.raises(ConfigError, match=message):
        distribution.check_divisible(config(**options), replicas)
