"""The devices of a run, on one host or on several, and what its replicas exchange in a step."""

import dataclasses
import os
import sys
from collections.abc import Callable

import tensorflow as tf

from c3tf.config import Config, ConfigError
from c3tf.io import json_files

# Makes one worker's share of every batch from (place of the worker, number of workers).
ShareOfBatches = Callable[[int, int], tf.data.Dataset]

CLUSTER_VARIABLE = "TF_CONFIG"
_LARGEST_PORT = 2**16 - 1
_EXAMPLE = (
    '{"cluster": {"worker": ["host-a:12345", "host-b:12345"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The hosts of a run as `TF_CONFIG` states them; one process runs on each.

    Attributes:
        num_workers: processes.
        worker: place of this one; 0 is the chief, which alone writes files.
    """

    num_workers: int = 1
    worker: int = 0

    @property
    def is_chief(self) -> bool:
        """Whether this process writes checkpoints, logs and results."""
        return self.worker == 0

    def __str__(self) -> str:
        return f"host {self.worker + 1} of {self.num_workers}"


@dataclasses.dataclass(frozen=True)
class Devices:
    """A distribution strategy and this process's place in it."""

    strategy: tf.distribute.Strategy
    cluster: Cluster = Cluster()

    @property
    def num_replicas(self) -> int:
        """Replicas over all hosts."""
        return self.strategy.num_replicas_in_sync

    def distribute(self, share_of_batches: ShareOfBatches, batch_size: int) -> tf.data.Dataset:
        """Gives every replica its rows of every batch.

        The rows of the global batch lie on the replicas in order, so what a step computes does
        not depend on how many there are.

        Args:
            share_of_batches: makes one worker's rows of each global batch, without an end.
            batch_size: rows of the global batch; a multiple of the number of replicas.

        Returns:
            What `keras.Model.fit` takes as its data under the strategy.
        """
        size = batch_size // self.num_replicas

        def share(context: tf.distribute.InputContext) -> tf.data.Dataset:
            rows = share_of_batches(context.input_pipeline_id, context.num_input_pipelines)
            rows = rows.rebatch(size, drop_remainder=True)
            # Where a data set may end, several hosts prepare for empty batches, whose size is
            # unknown when the step is traced.
            return rows.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

        return self.strategy.distribute_datasets_from_function(share)

    def gather(self, value: int) -> list[int]:
        """Returns what each process states, in order of the processes; all must call it.

        It returns when the slowest process has called it, so it is a barrier too.
        """
        if self.cluster.num_workers == 1:
            return [value]

        def of_all(place: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            return context.all_gather(place[None], axis=0)

        per_replica = self.strategy.run(tf.function(of_all), args=(tf.constant(value),))
        gathered = self.strategy.experimental_local_results(per_replica)[0].numpy().tolist()
        return gathered[:: self.num_replicas // self.cluster.num_workers]


def create_devices(config: Config) -> Devices:
    """Creates the distribution strategy of a run and checks that its batch can be divided.

    With several hosts this waits until all of them have started.

    Args:
        config: the run's configuration.

    Returns:
        TensorFlow's default strategy for one device, a `MirroredStrategy` for several local ones,
        a `MultiWorkerMirroredStrategy` for those of several hosts.

    Raises:
        ConfigError: there are fewer devices than asked for, `TF_CONFIG` and the flags do not fit
            together, or the replicas' shares of the batch would cut a mix group.
    """
    cluster = read_cluster()
    kind = config.training.strategy
    if kind == "auto" and cluster.num_workers > 1:
        kind = "multi_worker"
    if kind == "multi_worker":
        return _multi_worker(config, cluster)
    if cluster.num_workers > 1:
        raise ConfigError(
            f"{CLUSTER_VARIABLE} names {cluster.num_workers} hosts, and with `--strategy={kind}` "
            "each would train alone. Use `--strategy=multi_worker`, or unset it."
        )
    return Devices(_local(config))


def read_cluster() -> Cluster:
    """Reads the hosts of the run from the environment.

    Raises:
        ConfigError: `TF_CONFIG` is set and cannot be used.
    """
    text = os.environ.get(CLUSTER_VARIABLE)
    if not text:
        return Cluster()
    try:
        stated = json_files.parse(text)
        jobs, task = stated["cluster"], stated["task"]
        chiefs, workers = (list(jobs.get(job, [])) for job in ("chief", "worker"))
        place = int(task["index"]) + (len(chiefs) if task["type"] == "worker" else 0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{CLUSTER_VARIABLE} must be of the form {_EXAMPLE}. Received: {text}"
        ) from error
    others = sorted(set(jobs) - {"chief", "worker"})
    if others or task["type"] not in jobs or len(chiefs) > 1:
        raise ConfigError(
            f"{CLUSTER_VARIABLE} must name workers, and at most one chief, and this process's task "
            f"among them. Received: {text}"
        )
    count = len(chiefs) + len(workers)
    for address in [*chiefs, *workers]:
        if not _is_address(address):
            raise ConfigError(
                f"{CLUSTER_VARIABLE} must name hosts as HOST:PORT, with a port of 1 to "
                f"{_LARGEST_PORT}. Received: {address!r}"
            )
    if not 0 <= place < count:
        raise ConfigError(
            f"The task in {CLUSTER_VARIABLE} must be one of its {count} hosts. Received: {text}"
        )
    return Cluster(count, place)


def _is_address(address: object) -> bool:
    host, _, port = str(address).rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) <= _LARGEST_PORT


def check_divisible(config: Config, num_replicas: int) -> None:
    """Refuses a batch that the replicas cannot share without cutting a mix group.

    Raises:
        ConfigError: names the sizes and what they must be.
    """
    if config.labeled_batch_size % _share_unit(config, num_replicas):
        raise ConfigError(
            f"{_shares(config, num_replicas)}. "
            f"Received: --global_batch_size={config.training.global_batch_size}"
        )


def _shares(config: Config, num_replicas: int) -> str:
    """Says what the batch must be for so many replicas to share it."""
    group = f" times `--mix_group` ({config.method.mix_group})" if config.uses_groups else ""
    return (
        f"Half of `--global_batch_size` must be a multiple of the replicas ({num_replicas}){group}"
    )


def _multi_worker(config: Config, cluster: Cluster) -> Devices:
    if not os.environ.get(CLUSTER_VARIABLE):
        raise ConfigError(
            f"`--strategy=multi_worker` needs {CLUSTER_VARIABLE} in the environment of each host's "
            f"process, such as {_EXAMPLE}."
        )
    local = max(1, len(tf.config.list_physical_devices("GPU")))
    # Before the hosts wait for each other: a mistake is best seen at once.
    check_divisible(config, local * cluster.num_workers)
    return Devices(tf.distribute.MultiWorkerMirroredStrategy(), cluster)


def _local(config: Config) -> tf.distribute.Strategy:
    training = config.training
    gpus = tf.config.list_logical_devices("GPU")
    mirrored = training.strategy == "mirrored" or (training.strategy == "auto" and len(gpus) > 1)
    if not mirrored:
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    wanted = training.replicas or len(devices)
    if wanted > len(devices):
        raise ConfigError(
            f"`--replicas` must be at most {len(devices)}, the number of local "
            f"{devices[0].device_type}s. Received: --replicas={wanted}"
        )
    if training.strategy == "auto":
        # As many as can share the batch: one device always can.
        size = config.labeled_batch_size
        wanted = next(n for n in range(wanted, 0, -1) if size % _share_unit(config, n) == 0)
        if wanted < len(devices):
            print(
                f"Uses {wanted} of {len(devices)} GPUs. For all of them: "
                f"{_shares(config, len(devices))}.",
                file=sys.stderr,
            )
    check_divisible(config, wanted)
    return tf.distribute.MirroredStrategy([device.name for device in devices[:wanted]])


def _share_unit(config: Config, num_replicas: int) -> int:
    """Returns the number of labeled images that the labeled batch must be a multiple of."""
    return num_replicas * (config.method.mix_group if config.uses_groups else 1)


def global_sum(x: tf.Tensor) -> tf.Tensor:
    """Adds up `x`, of one shape on all replicas; to be called inside a train step."""
    if _context().num_replicas_in_sync == 1:
        return x
    return _context().all_reduce(tf.distribute.ReduceOp.SUM, x)


def global_gather(x: tf.Tensor) -> tf.Tensor:
    """Concatenates `x` of all replicas along axis 0, of any lengths; inside a train step."""
    context = _context()
    if context.num_replicas_in_sync == 1:
        return x
    total = global_sum(tf.shape(x)[0])
    # TensorFlow crashes where all replicas have nothing: then each sends a row that is not kept.
    spare = tf.zeros([tf.cast(total == 0, tf.int32), *x.shape[1:]], x.dtype)
    return context.all_gather(tf.concat([x, spare], axis=0), axis=0)[:total]


def replica_index() -> tf.Tensor:
    """Returns this replica's place among all replicas, an int32 scalar."""
    return tf.cast(_context().replica_id_in_sync_group, tf.int32)


def _context() -> tf.distribute.ReplicaContext:
    return tf.distribute.get_replica_context()
