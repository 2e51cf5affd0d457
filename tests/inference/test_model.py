"""What an opened model knows beside its networks."""

import pytest

from c3tf.inference.model import InferenceModel
from tiny_network import LABEL_MAP

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize(
    ("trained", "rows", "height", "unlike"),
    [
        (240, {240: 5, 300: 2, 180: 1}, 0, 0),
        (240, {240: 5, 360: 2, 160: 1}, 0, 3),
        (240, {720: 4}, 0, 4),
        (240, {720: 4, 240: 1}, 240, 0),
        (240, {240: 4, 720: 1}, 720, 5),
        (None, {720: 4}, 0, 0),
        (240, {}, 0, 0),
    ],
)
def test_images_unlike_those_of_the_training_are_told(trained, rows, height, unlike):
    model = InferenceModel(None, None, LABEL_MAP, {}, image_height=trained)
    said = model.advice(rows, height)
    if not unlike:
        assert said is None
        return
    assert said.startswith(f"{unlike} of {sum(rows.values())} images were shown")
    assert said.endswith("--height=240 shows them so")


def test_a_test_time_scale_that_fits_is_enough():
    model = InferenceModel(None, None, LABEL_MAP, {}, image_height=240)
    assert model.advice({720: 4}, 0, (1.0, 1 / 3)) is None
    assert model.advice({240: 4}, 0, (3.0,)).startswith("4 of 4 images")
