"""What is printed at the start of a run."""

import pytest
import tensorflow as tf

from c3tf.config import Config
from c3tf.data.training_data import ImageSet, TrainingData
from c3tf.runs import summary

pytestmark = pytest.mark.smoke

DATA = TrainingData(ImageSet(None, None, 100), ImageSet(None, None, 800), num_classes=19)
FACTS = {
    "title": "c3",
    "parameters": 43_000_000,
    "devices": ["NVIDIA H100", "NVIDIA H100", "CPU"],
    "split_hash": "6cd9af2ea034",
    "validation_images": 500,
}


@pytest.fixture(scope="module")
def lines():
    config = Config().with_options(
        global_batch_size=8, steps=1000, supervised_steps=200, data="some/data", output="run"
    )
    return summary.describe(config, DATA, **FACTS).splitlines()


def test_steps_and_epochs_of_both_sets(lines):
    (line,) = [line for line in lines if "steps:" in line]
    assert "200 steps of 4 labeled images, then 800 with 4 unlabeled ones" in line
    assert line.endswith("40.0 epochs of the labeled images, 4.0 of the unlabeled ones")


def test_batch_devices_split_parameters_and_versions(lines):
    text = "\n".join(lines)
    assert "effective batch: 8 images (4 labeled, 4 unlabeled) over 3 replica(s)" in text
    assert "2 x NVIDIA H100, 1 x CPU" in text
    assert "100 labeled (split 6cd9af2ea034), 800 unlabeled, 500 validation images" in text
    assert "43.0 M trained parameters" in text
    assert f"tensorflow {tf.__version__}" in text


def test_the_baseline_sees_labeled_images_only():
    config = Config().with_options(method="supervised", global_batch_size=8, steps=50)
    text = summary.describe(config, DATA, **FACTS)
    assert "effective batch: 4 images over" in text
    assert "steps: 50 steps of 4 labeled images; 2.0 epochs of the labeled images" in text


def test_a_device_without_a_strategy_is_named():
    assert summary.device_names(tf.distribute.get_strategy()) == ["CPU"]
