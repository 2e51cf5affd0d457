"""Heat maps: dark to bright, over a photograph."""

import numpy as np
import pytest

from c3tf.visualization import heat

pytestmark = pytest.mark.smoke


def test_brightness_rises_with_the_value():
    colors = heat.heat(np.linspace(-0.5, 1.5, 41)[None])[0]
    brightness = colors @ np.array([0.299, 0.587, 0.114])
    inside = brightness[10:31]
    assert (np.diff(inside) > 0).all()
    assert colors[0].tolist() == colors[10].tolist()
    assert colors[-1].tolist() == colors[30].tolist()


def test_opacity_blends():
    image = np.full((2, 3, 3), 100, np.uint8)
    values = np.array([[0, 0.5, 1]] * 2)
    np.testing.assert_array_equal(heat.heat_over(image, values, 0), image)
    np.testing.assert_array_equal(heat.heat_over(image, values, 1), heat.heat(values))
    half = np.rint(image * 0.5 + heat.heat(values) * 0.5)
    np.testing.assert_array_equal(heat.heat_over(image, values), half)


@pytest.mark.parametrize(
    ("values", "opacity", "message"), [((2, 2), 0.5, "one size"), ((2, 3), 2, "opacity=2")]
)
def test_what_does_not_fit_is_refused(values, opacity, message):
    with pytest.raises(ValueError, match=message):
        heat.heat_over(np.zeros((2, 3, 3), np.uint8), np.zeros(values), opacity)
