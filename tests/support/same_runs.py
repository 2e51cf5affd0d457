"""Two runs that must have come to the same end."""

import json
import os

import numpy as np

from c3tf.runs import checkpoints


def assert_same_end(one, other):
    """Every number of the last checkpoints, and the confusion matrices, are the same."""
    (facts, arrays), (other_facts, other_arrays) = (
        checkpoints.read(checkpoints.find(str(run)))[:2] for run in (one, other)
    )
    assert facts["step"] == other_facts["step"]
    assert facts["best"] == other_facts["best"]
    assert arrays.keys() == other_arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(other_arrays[name], array, err_msg=name)
    for file in ("results.json", "config.json"):
        first, second = (json.loads((run / file).read_text()) for run in (one, other))
        if file == "config.json":
            for held in (first, second):
                held["config"]["training"]["output"] = ""
        assert first == second
    best, other_best = (checkpoints.read(str(r / "checkpoints/best.npz")) for r in (one, other))
    assert best[0]["step"] == other_best[0]["step"]
    assert sorted(os.listdir(one / "checkpoints")) == sorted(os.listdir(other / "checkpoints"))
    steps = [
        [json.loads(line)["step"] for line in (run / "metrics.jsonl").open()]
        for run in (one, other)
    ]
    assert steps[0] == steps[1]
