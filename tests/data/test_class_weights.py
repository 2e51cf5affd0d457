"""Weights of classes: from pixel counts by hand, from files, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest

import tiny_network
from c3tf.config import Config, ConfigError
from c3tf.data import class_weights
from c3tf.data.manifest import Manifest, SplitInfo

pytestmark = pytest.mark.smoke

NAMES = tiny_network.LABEL_MAP.class_names


def manifest(*pixels):
    train = SplitInfo(2, 2, "names", (), pixels, 17)
    other = dataclasses.replace(train, class_pixels=(1, 1, 1, 1))
    return Manifest(
        "tiny",
        "tests",
        "1",
        "noise",
        {},
        tiny_network.LABEL_MAP,
        {"train": train, "val": other},
        data_dir="some/data",
    )


def of(chosen, *pixels):
    return class_weights.of(Config().with_options(class_weights=str(chosen)), manifest(*pixels))


def test_none_is_the_default_and_looks_at_nothing():
    assert Config().method.class_weights == "none"
    assert class_weights.of(Config(), None) is None


def test_inverse_frequency_by_hand():
    # 100 pixels of 4 classes: 100 / (4 n).
    found = of("inverse_frequency", 50, 25, 20, 5)
    np.testing.assert_allclose(found, [0.5, 1.0, 1.25, 5.0], rtol=1e-15)
    assert found @ [50, 25, 20, 5] == pytest.approx(100)


def test_a_class_without_pixels_is_refused_by_name():
    with pytest.raises(ConfigError) as refused:
        of("inverse_frequency", 50, 0, 20, 0)
    message = str(refused.value)
    assert message.startswith("`--class_weights=inverse_frequency` must ")
    assert "some/data, whose training images have none of wall, sky." in message


def test_a_file_is_read_by_name(tmp_path):
    path = tmp_path / "weights.json"
    path.write_text(json.dumps({"sky": 0, "plant": 2.5, "wall": 3, "ground": 1e-3}))
    assert of(path, 0, 0, 0, 0).tolist() == [1e-3, 3.0, 2.5, 0.0]


GOOD = dict.fromkeys(NAMES, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (json.dumps([1, 1, 1, 1]), "it holds no object"),
        ("{", "it is no JSON"),
        (json.dumps({"ground": 1, "wall": 1}), "it lacks 'plant'; it lacks 'sky'"),
        (json.dumps({**GOOD, "car": 1}), "'car' is no class of tiny"),
        (json.dumps({**GOOD, "sky": -1}), "'sky' is -1 and not a number from 0 to 1000000"),
        (json.dumps({**GOOD, "sky": 1e7}), "'sky' is 10000000.0 and not a number from 0 to"),
        (json.dumps({**GOOD, "sky": "1"}), "'sky' is '1' and not a number"),
        (json.dumps({**GOOD, "sky": True}), "'sky' is True and not a number"),
        (json.dumps({**GOOD, "sky": float("inf")}), "it holds inf, which is no number"),
        (json.dumps(dict.fromkeys(NAMES, 0)), "all weights are 0"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, content, reason):
    path = tmp_path / "weights.json"
    path.write_text(content)
    with pytest.raises(ConfigError) as refused:
        of(path, 1, 1, 1, 1)
    message = str(refused.value)
    assert message.startswith("`--class_weights` must name a JSON object of weights by class: ")
    assert str(path) in message
    assert reason in message
    assert "\n" not in message


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError) as refused:
        of(tmp_path / "frequency", 1, 1, 1, 1)
    message = str(refused.value)
    assert message.startswith("`--class_weights` must be none, inverse_frequency or a JSON file. ")
    assert message.endswith("frequency, and there is no such file")
