"""Painted masks, against a loop over the pixels."""

import numpy as np
import pytest

from c3tf.errors import DataError
from c3tf.labels import CITYSCAPES, IGNORE
from data_tools.conversion import color_masks

pytestmark = pytest.mark.smoke

TABLE = {
    **{color: index for index, color in enumerate(CITYSCAPES.colors)},
    (0, 0, 0): IGNORE,
    (255, 255, 255): IGNORE,
}


def test_colors_become_train_ids():
    colors = np.array(list(TABLE), np.uint8)
    mask = colors[np.random.default_rng(0).integers(0, len(colors), (30, 40))]
    expected = [[TABLE[tuple(pixel)] for pixel in row] for row in mask.tolist()]
    ids = color_masks.train_ids("x.png", mask, TABLE)
    assert ids.dtype == np.uint8
    np.testing.assert_array_equal(ids, expected)
    # Another table is another answer.
    assert (color_masks.train_ids("x.png", mask[:1, :1], {tuple(mask[0, 0]): 7}) == 7).all()


def test_unknown_colors_are_named_with_their_pixels():
    mask = np.zeros((4, 5, 3), np.uint8)
    mask[0, :3], mask[1, 0] = (1, 2, 3), (255, 254, 0)
    with pytest.raises(
        DataError, match=r"x\.png holds 2 colours .*: #010203 \(3 pixels\), #fffe00 \(1 pixels\)"
    ):
        color_masks.train_ids("x.png", mask, TABLE)
