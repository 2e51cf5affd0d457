"""Trains from real records on some logical CPUs: `python mirrored_run.py REPLICAS CONFIG.json`.

A process of its own, because logical devices are set once per process. With several hosts in
`TF_CONFIG` it is one of their processes.
"""

import json
import sys
from unittest import mock

import keras
import tensorflow as tf

from c3tf.config import Config, environment
from c3tf.runs.run import Run


def main(replicas: int, path: str) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * replicas
    )
    # Summation order is all that may differ, and only float64 tells it from a mistake. Runs refuse
    # it elsewhere, as it would come from outside their configuration.
    environment.settle()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    with open(path, encoding="utf-8") as file:
        config = Config.from_dict(json.load(file))
    with mock.patch.object(environment, "settle"):
        run = Run(config, f"{replicas} replicas")
    assert run.devices.num_replicas == replicas * run.devices.cluster.num_workers
    run.train()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
