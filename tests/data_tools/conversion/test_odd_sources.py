"""Odd files in a conversion: turned photographs, palettes, red masks, missing ends, limits."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageOps

from c3tf.data import splits, tfrecord
from c3tf.errors import DataError
from c3tf.labels import LabelMap
from data_tools import folder
from data_tools.conversion import convert, images
from data_tools.conversion import turned as turned_images
from data_tools.conversion.example import ConversionOptions, SourcePair
from data_tools.conversion.runners import LocalRunner
from image_files import chunk, encode, noise, png, turned
from raw_trees import save

YARD = LabelMap("yard", ("a", "b", "c"), ((9, 9, 9), (8, 8, 8), (7, 7, 7)), (1, 2, 7), (0, 255))
SIZE = (24, 40)
IDS = np.random.default_rng(0).choice([0, 1, 2, 7], SIZE).astype(np.uint8)


@pytest.fixture
def root(tmp_path):
    for index in range(4):
        save(tmp_path / f"i/{index}.jpg", noise(*SIZE, seed=index))
        save(tmp_path / f"m/{index}.png", IDS)
    return tmp_path


def _convert(root, said=None, skip_bad=False, **options):
    found = folder.discover(str(root / "i"), str(root / "m"), folder.Validation(fraction=0.3))
    return convert.convert(
        found,
        str(root / "out"),
        ConversionOptions("yard", YARD, **options),
        "tests",
        runner=LocalRunner(1),
        skip_bad=skip_bad,
        say=(said if said is not None else []).append,
    )


def _record(manifest, name):
    for split in manifest.splits:
        for path in manifest.shards(split):
            yield from (r for r in tfrecord.read_shard(path) if r.name == name)


def _pixels(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)))


def test_names_that_cameras_desktops_and_people_give_are_kept(root):
    given = ["at 1.23.45\u202fPM", "\U0001f468\u200d\U0001f469", "写真\u3000一", "a\u00a0b"]
    for index, name in enumerate(given):
        for place in (f"i/{index}.jpg", f"m/{index}.png"):
            (root / place).rename((root / place).with_stem(name))
    manifest = _convert(root)
    names = [name for split in ("train", "val") for name in manifest.names(split)]
    assert sorted(names) == sorted(given)
    split = splits.draw(names, 2, 0)
    splits.write(str(root / "list.txt"), split)
    assert splits.read(str(root / "list.txt"), names) == split
    (root / "i" / "two\nlines.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"'i/two\\nlines.jpg' .* cannot be used. Rename it"):
        _convert(root)


@pytest.mark.parametrize(("noted", "tells"), [(3, "note one: i/0.jpg.$"), (6, "1 fit the upright")])
def test_a_rotation_is_refused_until_the_user_says(root, noted, tells):
    (root / "i/0.jpg").write_bytes(turned(noise(*SIZE), "JPEG", noted))
    if noted == 6:
        save(root / "m/0.png", np.rot90(IDS, -1).copy())
    with pytest.raises(DataError, match=rf"0\.jpg notes .*orientation {noted}.*--exif=.*{tells}"):
        _convert(root)
    said = []
    manifest = _convert(root, said, exif="apply", image_format="png")
    assert "1 images were turned upright" in said[0]
    assert said[0].endswith(": 0")
    (record,) = _record(manifest, "0")
    upright = ImageOps.exif_transpose(Image.open(root / "i/0.jpg"))
    np.testing.assert_array_equal(_pixels(record.image), upright)
    assert (record.height, record.width) == (upright.height, upright.width)


def test_a_rotation_may_be_ignored(root):
    whole = turned(noise(*SIZE), "JPEG", 8)
    (root / "i/0.jpg").write_bytes(whole)
    said = []
    (record,) = _record(_convert(root, said, exif="ignore"), "0")
    assert record.image == whole
    assert "1 images note a rotation (EXIF) that is ignored: 0" in said


def test_turned_images_are_counted_beside_giants(root):
    (root / "i/0.jpg").write_bytes(turned(noise(*SIZE), "JPEG", 6))
    giant = root / "giant.png"
    giant.write_bytes(png(b"", (30_000, 30_000)))
    paths = (str(root / "i/0.jpg"), str(root / "m/0.png")), (str(giant), None)
    said = turned_images.survey([SourcePair("train", i, i, m, i[-5:]) for i, m in paths])
    assert said.startswith("In all, 1 of 2 images note one: 0.jpg. ")


def test_swapped_sides_are_told_of_the_rotation(root):
    (root / "i/0.jpg").write_bytes(turned(noise(*SIZE), "JPEG", 6))
    for exif, other in (("apply", "ignore"), ("ignore", "apply")):
        save(root / "m/0.png", IDS if exif == "apply" else np.rot90(IDS, -1).copy())
        manifest = _convert(root, exif=exif)
        (entry,) = [e for info in manifest.splits.values() for e in info.left_out]
        assert f"the mask fits the picture of --exif={other}" in entry.reason
        shutil.rmtree(root / "out")


def test_masks_are_turned_by_the_same_rule(root):
    (root / "m/0.png").write_bytes(turned(IDS, "PNG", 3))
    with pytest.raises(DataError, match=r"m/0\.png notes"):
        _convert(root)
    (record,) = _record(_convert(root, exif="apply"), "0")
    expected = np.select([IDS == 1, IDS == 2, IDS == 7], [0, 1, 2], 255)
    np.testing.assert_array_equal(_pixels(record.label), expected[::-1, ::-1])


@pytest.mark.parametrize("end", [b"", b"\0\0"])
def test_a_missing_end_is_refused_or_encoded_anew(root, end):
    whole = (root / "i/0.jpg").read_bytes()
    (root / "i/0.jpg").write_bytes(whole[:-2] + end)
    with pytest.raises(DataError, match=r"i/0\.jpg .* its end is missing.*--reencode"):
        _convert(root)
    said = []
    manifest = _convert(root, said, reencode=True, image_format="png")
    assert "1 images lacked the end of their file and were encoded anew: 0" in said
    (record,) = _record(manifest, "0")
    np.testing.assert_array_equal(_pixels(record.image), _pixels(whole))


def _palette_mask(path, ids, colors):
    image = Image.fromarray(ids).convert("P")
    image.putdata(ids.ravel().tolist())
    image.putpalette(np.asarray(colors, np.uint8).tobytes())
    save(path, image)


BLACK, RED, GREEN, GREY = (0, 0, 0), (255, 0, 0), (0, 255, 0), (7, 7, 7)
INDICES = np.random.default_rng(1).choice([0, 1, 2], SIZE).astype(np.uint8)
ONE, TWO = (np.where(INDICES == 1, value, 0).astype(np.uint8) for value in (1, 2))


@pytest.mark.parametrize(
    ("first", "second", "ids"),
    [
        ((BLACK, RED, GREEN), (BLACK, GREEN, RED), (INDICES, INDICES)),
        ((BLACK, RED), (BLACK, GREEN), (ONE, ONE)),
        ((BLACK, RED, GREEN), (BLACK, GREEN, RED), (ONE, TWO)),
    ],
)
def test_palettes_that_differ_are_refused_by_both_names(root, first, second, ids):
    for index in range(4):
        _palette_mask(root / f"m/{index}.png", ids[index == 2], second if index == 2 else first)
    with pytest.raises(
        DataError, match=r"m/\d\.png and .*m/\d\.png have different palettes"
    ) as told:
        _convert(root, palette_masks=True)
    assert "m/2.png" in str(told.value)


def test_palettes_that_agree_where_they_are_used_pass(root):
    whole = (BLACK, RED, GREEN, *[BLACK] * 5)
    for index, colors in enumerate((whole, (BLACK, RED, GREEN), whole, (BLACK, RED, GREEN, RED))):
        _palette_mask(root / f"m/{index}.png", INDICES, colors)
    (record,) = _record(_convert(root, palette_masks=True), "0")
    np.testing.assert_array_equal(_pixels(record.label), np.where(INDICES, INDICES - 1, 255))


def test_grey_palettes_that_are_not_their_indices_are_refused(root):
    _palette_mask(root / "m/0.png", ONE, (BLACK, GREY))
    with pytest.raises(DataError, match=r"m/0\.png has a palette of greys .*index 1 is the grey 7"):
        _convert(root, palette_masks=True)


@pytest.mark.parametrize("kind", ["RGB", "grey", "LA", "RGBA", "carla", "L"])
def test_ids_in_the_red_channel(root, kind):
    full = np.full(SIZE, 200, np.uint8)
    channels = {
        "RGB": [IDS, IDS, IDS],
        "grey": [IDS, IDS, IDS],
        "LA": [IDS, full],
        "RGBA": [IDS, IDS, IDS, full],
        "carla": [IDS, full, IDS],
        "L": [IDS],
    }[kind]
    save(root / "m/0.png", np.stack(channels, -1).squeeze())
    if kind != "L":
        with pytest.raises(DataError, match=r"holds colours .*--masks_are=red"):
            _convert(root)
    (record,) = _record(_convert(root, red_masks=True), "0")
    expected = np.select([IDS == 1, IDS == 2, IDS == 7], [0, 1, 2], 255)
    np.testing.assert_array_equal(_pixels(record.label), expected)


def test_red_masks_that_are_transparent_in_places_are_refused(root):
    save(root / "m/0.png", np.stack([IDS, IDS], -1))
    with pytest.raises(DataError, match="transparent in some places"):
        _convert(root, red_masks=True)


def test_painted_masks_are_opaque_where_they_have_the_colour_of_a_class(root):
    table = np.zeros((8, 3), np.uint8)
    table[[1, 2, 7]] = YARD.colors
    for index in range(4):
        opaque = np.where(IDS == 0, 0, 255).astype(np.uint8)
        save(root / f"m/{index}.png", np.dstack([table[IDS], opaque]))
    options = {"label_ids": "colors", "ignored_colors": ((0, 0, 0),)}
    (record,) = _record(_convert(root, **options), "0")
    expected = np.select([IDS == 1, IDS == 2, IDS == 7], [0, 1, 2], 255)
    np.testing.assert_array_equal(_pixels(record.label), expected)
    shutil.rmtree(root / "out")
    opaque[IDS == 2] = 100
    save(root / "m/0.png", np.dstack([table[IDS], opaque]))
    with pytest.raises(DataError, match=r"m/0\.png is transparent in some places that have the"):
        _convert(root, **options)


def test_no_bad_file_ends_a_conversion_that_skips_them(root):
    long = "x" * 240
    save(root / f"i/{long}.jpg", noise(*SIZE))
    save(root / f"m/{long}.png", IDS)
    for name in ("sparse", "giant", "loop", "device", "empty"):
        save(root / f"m/{name}.png", IDS)
    with open(root / "i/sparse.jpg", "wb") as file:
        file.truncate(20 << 30)
    giant = bytearray(encode(np.zeros((8, 8), np.uint8), "PNG"))
    giant[16:33] = chunk(b"IHDR", (9000).to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0]))[8:]
    (root / "i/giant.png").write_bytes(giant)
    (root / "i/loop.jpg").symlink_to(root / "i/loop.jpg")
    (root / "i/device.jpg").symlink_to("/dev/zero")
    (root / "i/empty.jpg").write_bytes(b"")
    manifest = _convert(root, skip_bad=True)
    left_out = {e.source: e.reason for info in manifest.splits.values() for e in info.left_out}
    assert sorted(left_out) == [
        f"i/{name}" for name in ("device.jpg", "empty.jpg", "giant.png", "loop.jpg", "sparse.jpg")
    ]
    assert "9000x9000 pixels, more than" in left_out["i/giant.png"]
    assert "bytes, more than" in left_out["i/sparse.jpg"]
    assert any(_record(manifest, long))


@pytest.mark.parametrize(
    ("split", "message"), [("train", "belongs to a class"), ("val", "belongs")]
)
def test_labels_without_a_class_are_refused(root, split, message):
    found = folder.discover(str(root / "i"), str(root / "m"), folder.Validation(fraction=0.3))
    for item in found.pairs:
        if item.split == split:
            save(root / f"m/{item.name}.png", np.zeros(SIZE, np.uint8))
    with pytest.raises(DataError, match=f"No pixel of the labels of split '{split}' belongs"):
        _convert(root)
    assert not (root / "out/dataset.json").exists()


def test_doubtful_labels_are_told_and_converted(root):
    from data_tools import inspect

    for index in range(4):
        mask = np.zeros(SIZE, np.uint8)
        mask[:2, :2] = [[1, 2], [2, 2]]
        save(root / f"m/{index}.png", mask)
    lines = inspect.warnings(_convert(root))
    assert len(lines) == 4
    assert "100% of the pixels of the labels of split 'train' are ignored" in lines[0]
    assert "is of 1 of 3 classes: c." in lines[1]
    assert json.loads((root / "out/dataset.json").read_text())["options"]["exif"] == "refuse"


def test_an_image_that_memory_does_not_hold_is_skipped(root, monkeypatch):
    def resize(image, size):
        raise MemoryError

    monkeypatch.setattr(images, "resize_image", resize)
    with pytest.raises(DataError, match=r"i/\d\.jpg needs more memory"):
        _convert(root, height=16)
    with pytest.raises(DataError, match=r"'train' is empty: .*needs more memory"):
        _convert(root, height=16, skip_bad=True)
