"""Pictures and files: colours, overlays, error maps, sheets, label PNGs."""

import json

import numpy as np
import pytest
from PIL import Image

from c3tf.io import json_files
from c3tf.io.images import raw_id_table, write_class_map, write_png
from c3tf.labels import CAMVID, CITYSCAPES, IGNORE, LabelMap
from c3tf.visualization import drawing

pytestmark = pytest.mark.smoke

IDS = np.array([[0, 1], [10, IGNORE]], np.uint8)


def test_colorize_uses_the_label_maps_colours():
    color = drawing.colorize(IDS, CAMVID)
    assert color.dtype == np.uint8
    assert [tuple(pixel) for pixel in color.reshape(-1, 3)] == [
        CAMVID.colors[0],
        CAMVID.colors[1],
        CAMVID.colors[10],
        (0, 0, 0),
    ]


def test_stacks_of_maps_are_drawn_like_their_maps():
    maps = np.random.default_rng(0).integers(0, 11, (2, 3, 4, 5)).astype(np.uint8)
    labels = np.where(maps < 2, np.uint8(IGNORE), maps[::-1])
    color, errors = drawing.colorize(maps, CAMVID), drawing.error_map(maps, labels)
    for place in np.ndindex(2, 3):
        np.testing.assert_array_equal(color[place], drawing.colorize(maps[place], CAMVID))
        np.testing.assert_array_equal(errors[place], drawing.error_map(maps[place], labels[place]))


def test_overlay_blends_and_leaves_ignored_pixels_alone():
    image = np.full((2, 2, 3), 100, np.uint8)
    blended = drawing.overlay(image, IDS, CAMVID, opacity=0.25)
    expected = np.rint(75 + 0.25 * np.array(CAMVID.colors[1]))
    np.testing.assert_array_equal(blended[0, 1], expected)
    np.testing.assert_array_equal(blended[1, 1], [100, 100, 100])
    np.testing.assert_array_equal(drawing.overlay(image, IDS, CAMVID, opacity=0), image)


def test_error_map_tells_right_wrong_and_ignored_apart():
    label = np.array([[0, 1, IGNORE]], np.uint8)
    drawn = drawing.error_map(np.array([[0, 2, 2]], np.uint8), label)
    right, wrong, ignored = (tuple(pixel) for pixel in drawn[0])
    assert len({right, wrong, ignored}) == 3
    assert ignored == (0, 0, 0)
    assert wrong[0] > 2 * wrong[1]


def test_sheet_holds_pictures_titles_captions_and_legend():
    red = np.zeros((30, 60, 3), np.uint8) + np.uint8([200, 0, 0])
    blue = np.zeros((45, 60, 3), np.uint8) + np.uint8([0, 0, 200])
    bare = drawing.sheet([[red, blue]], ["one", "two"], cell_width=60)
    full = drawing.sheet(
        [[red, blue], [blue, red]],
        ["one", "two"],
        [["first", ""], ["x" * 300, "y"]],
        CITYSCAPES,
        60,
    )
    for picture, count in ((bare, 1), (full, 2)):
        pixels = np.asarray(picture).reshape(-1, 3)
        assert (pixels == [200, 0, 0]).all(-1).sum() == count * 30 * 60
        assert (pixels == [0, 0, 200]).all(-1).sum() == count * 45 * 60
    assert full.height > bare.height
    pixels = np.asarray(full).reshape(-1, 3)
    for color in CITYSCAPES.colors:
        assert (pixels == color).all(-1).sum() > 100, f"{color} is missing in the legend"


def test_a_caption_reaches_as_far_as_the_next_one():
    white = np.full((10, 60, 3), 250, np.uint8)

    def inked(*captions):
        """Tells for each column of the sheet whether something is written above its picture."""
        held = np.asarray(drawing.sheet([[white] * 3], ["", "", ""], [captions], cell_width=60))
        columns = (held.min(axis=(0, 2)) < 100)[8:]
        return [bool(columns[start : start + 60].any()) for start in (0, 68, 136)]

    assert inked("x" * 300, "", "") == [True, True, True]
    assert inked("x" * 300, "", "y") == [True, True, True]
    assert inked("x" * 12, "", "") == [True, True, False]
    assert inked("", "x", "") == [False, True, False]
    cut, whole = (
        np.asarray(drawing.sheet([[white] * 3], ["", "", ""], [texts], cell_width=60))
        for texts in (["x" * 300, "y", ""], ["x" * 300, "", ""])
    )
    assert (cut[:, 68:76] == 250).all(), "the gap before the second picture is free"
    assert (whole[:, 68:76] != 250).any()


@pytest.mark.parametrize("size", [(900, 60), (60, 900), (5, 7), (7, 5), (3000, 1)])
def test_pictures_of_any_shape_fit_a_square_of_the_sheet(size):
    picture = np.zeros((*size, 3), np.uint8) + np.uint8([200, 0, 0])
    drawn = np.asarray(drawing.sheet([[picture, None]], ["", ""], cell_width=60))
    rows, columns = np.nonzero((drawn == [200, 0, 0]).all(-1))
    extent = (np.ptp(rows) + 1, np.ptp(columns) + 1)
    assert max(extent) == 60
    assert extent == tuple(max(1, round(length * 60 / max(size))) for length in size)
    assert (drawn[:, 68 + 8 :] == 250).all(), "the second place is free"


def test_a_name_wider_than_the_legend_ends_in_dots():
    names = ("x" * 200, "y")
    label_map = LabelMap("wide", names, ((9, 0, 0), (0, 9, 0)), (0, 1))
    drawn = np.asarray(drawing.legend(label_map, 120))
    assert (drawn[:, -8:] == 250).all()
    assert drawn.shape[0] == 3 * 22 + 8


def test_the_legend_names_pixels_without_a_label():
    black = CAMVID.palette()[IGNORE]
    plain, overlaid = (
        np.asarray(drawing.legend(CAMVID, 90, overlaid=overlaid)) for overlaid in (False, True)
    )
    lines = [block for block in np.split(plain, range(22, 12 * 22 + 1, 22)) if len(block) == 22]
    assert len(lines) == CAMVID.num_classes + 1
    assert [(line == black).all(-1).sum() > 100 for line in lines] == [False] * 11 + [True]
    assert plain.shape == overlaid.shape
    last = overlaid[11 * 22 : 12 * 22]
    assert not (last == black).all(-1).any(), "an overlay does not paint such pixels"
    assert (last[:15, 8:23] < 100).all(-1).sum() > 40, "the square has an outline"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: drawing.colorize(IDS.astype(int), CAMVID), "`class_map` must be"),
        (lambda: drawing.overlay(np.zeros((3, 2, 3), np.uint8), IDS, CAMVID), "one size"),
        (lambda: drawing.overlay(np.zeros((2, 2, 3), np.uint8), IDS, CAMVID, 2.0), "opacity=2.0"),
        (lambda: drawing.error_map(IDS, IDS[:1]), "one size"),
        (lambda: drawing.sheet([], ["a"]), "must not be empty"),
        (lambda: drawing.sheet([[np.zeros((1, 1, 3), np.uint8)]], ["a", "b"]), "a row of 1"),
        (
            lambda: drawing.sheet([[np.zeros((1, 1, 3), np.uint8)]], ["a"], [["x", "y"]]),
            "1 captions, .* a row of 2",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_class_maps_are_written_as_train_or_raw_ids(tmp_path):
    class_map = np.array([[0, 18], [10, IGNORE]], np.uint8)
    write_class_map(tmp_path / "a/b/train.png", class_map)
    write_class_map(tmp_path / "raw.png", class_map, raw_ids_of=CITYSCAPES)
    with Image.open(tmp_path / "a/b/train.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), class_map)
    with Image.open(tmp_path / "raw.png") as image:
        np.testing.assert_array_equal(np.asarray(image), [[7, 33], [23, IGNORE]])


def test_raw_ids_that_are_no_bytes_are_refused():
    label_map = LabelMap("far", ("a", "b"), ((0, 0, 0), (1, 1, 1)), (5, 1000))
    with pytest.raises(ValueError, match="1000"):
        raw_id_table(label_map)


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "result.json"
    json_files.write(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        json_files.write(path, {"a": float("nan")})
    with pytest.raises((TypeError, ValueError)):
        write_png(path, np.zeros((2, 2, 7), np.uint8))
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]
