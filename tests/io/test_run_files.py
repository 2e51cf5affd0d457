"""Names of a run's files are read back as they were made."""

import pytest

from c3tf.io import run_files

pytestmark = pytest.mark.smoke


def test_names_say_their_step_and_network():
    assert run_files.checkpoint(500) == "step-00000500.npz"
    assert run_files.checkpoint_step("step-00000500.npz") == 500
    assert run_files.evaluation(20, "teacher") == "step-00000020-teacher.json"
    assert run_files.evaluated("step-00000020-teacher.json") == (20, "teacher")


@pytest.mark.parametrize(
    "name", [run_files.BEST_CHECKPOINT, ".step-00000500.npz.partial-1", "step-1.npz", "x"]
)
def test_other_files_are_no_checkpoints_of_a_step(name):
    assert run_files.checkpoint_step(name) is None
    assert run_files.evaluated(name) is None
