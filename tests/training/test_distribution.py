"""Which devices a run gets, and which batches they can share."""

import json
import re
import types

import pytest
import tensorflow as tf

from c3tf.config import Config, ConfigError, absl_flags
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
    strategy = distribution.create_devices(config(strategy="auto")).strategy
    assert strategy is tf.distribute.get_strategy()
    assert strategy.num_replicas_in_sync == 1


def test_auto_takes_all_gpus(four_gpus):
    distribution.create_devices(config(strategy="auto"))
    assert four_gpus == [["/GPU:0", "/GPU:1", "/GPU:2", "/GPU:3"]]


def test_auto_says_where_the_batch_keeps_gpus_idle(four_gpus, capsys):
    distribution.create_devices(config(strategy="auto", global_batch_size=8, mix_group=2))
    assert four_gpus == [["/GPU:0", "/GPU:1"]]
    assert capsys.readouterr().err == (
        "Uses 2 of 4 GPUs. For all of them: Half of `--global_batch_size` must be a multiple of "
        "the replicas (4) times `--mix_group` (2).\n"
    )


def test_one_takes_one_of_several_gpus(four_gpus):
    strategy = distribution.create_devices(config(strategy="one")).strategy
    assert strategy is tf.distribute.get_strategy()
    assert four_gpus == []


def test_replicas_limits_the_devices(four_gpus):
    distribution.create_devices(config(strategy="mirrored", replicas=2))
    assert four_gpus == [["/GPU:0", "/GPU:1"]]


def test_mirrored_on_the_cpu_is_a_mirrored_strategy():
    strategy = distribution.create_devices(config(strategy="mirrored")).strategy
    assert isinstance(strategy, tf.distribute.MirroredStrategy)
    assert strategy.num_replicas_in_sync == len(tf.config.list_logical_devices("CPU"))


def test_more_replicas_than_devices_are_refused(four_gpus):
    with pytest.raises(ConfigError, match=r"at most 4, .*local GPUs\. Received: --replicas=5"):
        distribution.create_devices(config(strategy="mirrored", replicas=5))
    assert four_gpus == []


def test_a_batch_that_cuts_a_mix_group_is_refused_before_a_strategy_is_made(four_gpus):
    with pytest.raises(ConfigError, match="--global_batch_size=24"):
        distribution.create_devices(config(strategy="mirrored", global_batch_size=24))
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


def cluster(monkeypatch, jobs, kind, index):
    stated = {"cluster": jobs, "task": {"type": kind, "index": index}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(stated))


WORKERS = {"worker": ["a:1", "b:1", "c:1"]}


@pytest.mark.parametrize(
    ("jobs", "kind", "index", "worker"),
    [
        (WORKERS, "worker", 0, 0),
        (WORKERS, "worker", 2, 2),
        ({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "chief", 0, 0),
        ({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "worker", 1, 2),
    ],
)
def test_a_process_finds_its_place_as_tensorflow_does(monkeypatch, jobs, kind, index, worker):
    cluster(monkeypatch, jobs, kind, index)
    found = distribution.read_cluster()
    assert found == distribution.Cluster(3, worker)
    assert found.is_chief == (worker == 0)
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    assert resolver.cluster_spec().num_tasks("worker") + ("chief" in jobs) == found.num_workers


def test_without_a_cluster_there_is_one_process(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert distribution.read_cluster() == distribution.Cluster(1, 0)


@pytest.mark.parametrize(
    "text",
    [
        "two hosts",
        "[]",
        "{}",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": -1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"chief": ["a:1", "b:1"]}, "task": {"type": "chief", "index": 0}}',
    ],
)
def test_a_cluster_that_cannot_be_used_is_shown(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError) as error:
        distribution.read_cluster()
    assert "TF_CONFIG" in str(error.value)
    assert text in str(error.value)


@pytest.mark.parametrize("address", ["a", "a:", ":1", "a:0", "a:65536", "a:b", 1])
def test_an_address_without_host_or_port_is_shown(monkeypatch, address):
    cluster(monkeypatch, {"worker": ["a:1", address]}, "worker", 0)
    with pytest.raises(ConfigError, match=r"HOST:PORT, .* Received: " + re.escape(repr(address))):
        distribution.read_cluster()


@pytest.mark.parametrize("strategy", ["one", "mirrored"])
def test_hosts_that_would_train_alone_are_refused(monkeypatch, strategy):
    cluster(monkeypatch, WORKERS, "worker", 0)
    with pytest.raises(ConfigError, match=f"names 3 hosts, and with `--strategy={strategy}`"):
        distribution.create_devices(config(strategy=strategy))


def test_several_hosts_without_a_cluster_are_refused(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ConfigError, match="needs TF_CONFIG in the environment"):
        distribution.create_devices(config(strategy="multi_worker"))


def test_hosts_that_cut_a_mix_group_are_refused_before_they_wait(monkeypatch):
    cluster(monkeypatch, WORKERS, "worker", 0)
    with pytest.raises(ConfigError, match=r"multiple of the replicas \(3\)"):
        distribution.create_devices(config(strategy="auto"))


def test_rows_of_a_batch_come_in_order():
    devices = distribution.Devices(tf.distribute.get_strategy())
    rows = tf.data.Dataset.range(12).batch(4).repeat()
    served = devices.distribute(lambda worker, workers: rows, 4)
    assert [batch.numpy().tolist() for batch in served.take(4)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
        [0, 1, 2, 3],
    ]


def test_the_recipes_for_clusters_divide_the_batch_of_their_experiment(repository):
    text = (repository / "docs/scale.md").read_text()
    recipes = {
        "Slurm": (r"--nodes=(\d+)", r"--gpus-per-node=(\d+)"),
        "Kubernetes": (r"completions: (\d+)", r"nvidia.com/gpu: (\d+)"),
    }
    for name, patterns in recipes.items():
        recipe = text.split(f"### {name}\n")[1].split("\n##")[0]
        hosts, gpus = (int(re.search(pattern, recipe)[1]) for pattern in patterns)
        (path,) = re.findall(r"--flagfile=(\S+)", recipe)
        experiment = absl_flags.from_files([str(repository / path)], {})
        distribution.check_divisible(experiment, hosts * gpus)
