"""The command that draws masks: photos and annotations matched, classes, what is left."""

import io
import json
import os
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw

from c3tf.errors import DataError, UserError
from c3tf.inference import labelme
from c3tf.io import writable
from c3tf.labels import IGNORE
from data_tools import folder, polygons
from data_tools.annotations import formats
from data_tools.annotations.images import Photos
from data_tools.annotations.shapes import AnnotationError
from data_tools.conversion import convert, images, label_map_file
from data_tools.conversion.example import ConversionOptions
from data_tools.conversion.runners import LocalRunner
from image_files import chunk, png, rows

CLASSES = {
    "classes": [
        {"name": "road", "id": 1, "color": "#804080"},
        {"name": "car", "id": 4, "color": "#00008e"},
    ],
    "ignore": {"ids": [0]},
}
SQUARE = [[1, 1], [4, 1], [4, 3], [1, 3]]


def photo(path, size=(6, 8), orientation=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.effect_noise(size[::-1], 90).convert("RGB").save(path, exif=exif)


def annotate(root, name, *shapes, size=(6, 8)):
    held = [{"label": "car", "points": SQUARE, "shape_type": "polygon", **s} for s in shapes]
    data = {"imagePath": f"{name}.jpg", "shapes": held}
    data |= {"imageHeight": size[0], "imageWidth": size[1]}
    root.mkdir(exist_ok=True)
    (root / f"{name}.json").write_text(json.dumps(data))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "classes.json").write_text(json.dumps(CLASSES))
    for name in ("a", "b", "c"):
        photo(tmp_path / "photos" / f"{name}.jpg")
    return tmp_path


def draw(root, exif="refuse", kind="labelme", annotations="drawn", **pen):
    held = polygons.Pen(label_map_file.read(str(root / "classes.json")), **pen)
    photos = Photos(str(root / "photos"), exif)
    return polygons.draw(kind, str(root / annotations), photos, held, str(root / "out"))


def test_masks_are_drawn_and_convert(root):
    annotate(root / "drawn", "a", {"label": "road", "points": [[0, 0], [7, 0], [7, 5]]}, {})
    annotate(root / "drawn", "b", {"label": "sky"}, {"points": [[2, 2]], "shape_type": "point"})
    annotate(root / "drawn", "elsewhere", {})
    drawn = draw(root, ignored=["sky"], skip_open=True)
    assert (drawn.masks, drawn.missing, drawn.without) == (2, ["elsewhere.jpg"], 1)
    assert (dict(drawn.shapes), dict(drawn.open_shapes)) == (
        {"road": 1, "car": 1, "sky": 1}, {"point": 1},
    )  # fmt: skip
    mask = images.read_mask(str(root / "out/masks/a.png")).ids
    assert (mask[1:4, 1:5] == 4).all()
    assert mask[0].tolist() == [1] * 8
    assert mask[5].tolist() == [0] * 7 + [1]
    assert not images.read_mask(str(root / "out/masks/b.png")).ids.any()
    # What came out is what the converter of folders takes.
    described = label_map_file.read(str(root / "out/label_map.json"))
    assert described.label_map.raw_ids == (1, 4)
    annotate(root / "drawn", "b", {})
    annotate(root / "drawn", "c", {})
    (root / "out").rename(root / "first")
    draw(root, ignored=["sky"], skip_open=True)
    found = folder.discover(
        str(root / "photos"), str(root / "out/masks"), folder.Validation(fraction=0.4)
    )
    options = ConversionOptions("own", described.label_map, "raw", image_format="png")
    convert.convert(found, str(root / "data"), options, converter="tests", runner=LocalRunner(1))


def test_background_is_a_class_and_the_ids_of_no_class_are_free(root):
    annotate(root / "drawn", "a", {})
    annotate(root / "drawn", "b")
    draw(root, background="road")
    mask = images.read_mask(str(root / "out/masks/a.png")).ids
    assert sorted(np.unique(mask)) == [1, 4]
    assert (images.read_mask(str(root / "out/masks/b.png")).ids == 1).all()
    text = json.dumps({"classes": [{**CLASSES["classes"][0], "id": 255}]})
    (root / "classes.json").write_text(text)
    assert polygons.Pen(label_map_file.read(str(root / "classes.json"))).no_class == 254


@pytest.mark.parametrize(
    ("shapes", "pen", "said"),
    [
        ([{"label": "tree"}], {}, r"a\.json: 'a\.jpg' has a shape of 'tree', which is no class"),
        ([{"shape_type": "line"}], {}, r"a\.json: 'a\.jpg' has 1 x line.* --skip_open"),
        ([], {}, "nothing was drawn on any photo"),
        ([{}], {"background": "grass"}, "`--background` must be a class"),
        ([{}], {"ignored": ["car"]}, "names 'car', which is a class"),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_leaves_nothing(root, shapes, pen, said):
    annotate(root / "drawn", "a", *shapes)
    before = sorted(path.name for path in root.iterdir())
    with pytest.raises(DataError, match=said):
        draw(root, **pen)
    assert sorted(path.name for path in root.iterdir()) == before


def test_sizes_and_rotations_are_those_of_the_photos(root):
    annotate(root / "drawn", "a", {}, size=(7, 8))
    with pytest.raises(AnnotationError, match=r"drawn on as 8 x 7 pixels, and .*a\.jpg has 8 x 6"):
        draw(root)
    photo(root / "photos/a.jpg", orientation=6)
    annotate(root / "drawn", "a", {}, size=(8, 6))
    with pytest.raises(images.TurnedError, match="--exif=apply"):
        draw(root)
    with pytest.raises(AnnotationError, match="drawn on as 6 x 8"):
        draw(root, exif="ignore")
    draw(root, exif="apply")
    assert images.read_mask(str(root / "out/masks/a.png")).ids.shape == (8, 6)


def test_shapes_that_reach_beyond_their_photos_are_told(root):
    """As where an annotation does not note the size of the picture that was drawn on."""
    wide = {"points": [[1, 1], [16, 1], [16, 9]]}
    circle = {"points": [[4, 3], [7.5, 3]], "shape_type": "circle"}
    annotate(root / "drawn", "a", {}, wide)
    annotate(root / "drawn", "b", circle, {"points": [[0, 0], [9, 0], [9, 7]]})
    for path in (root / "drawn").iterdir():
        data = json.loads(path.read_text())
        path.write_text(json.dumps({**data, "imageHeight": None, "imageWidth": None}))
    drawn = draw(root)
    assert drawn.beyond == ["car on a.jpg"]
    lines = polygons._describe(drawn, polygons.Pen(label_map_file.read(f"{root}/classes.json")), "")
    assert "1 shapes reach beyond their photos: were those of another size" in "\n".join(lines)


def test_photos_are_found_by_as_much_of_the_path_as_both_have(tmp_path):
    for path in ("one/0.jpg", "two/0.jpg", "two/1.jpg"):
        photo(tmp_path / path)
    photos = Photos(str(tmp_path), "refuse")
    assert photos.find("two/0.png") == "two/0.jpg"
    assert photos.find("set\\two\\0.jpg") == "two/0.jpg"
    assert photos.find("1.jpg") == "two/1.jpg"
    # Neither of the two that are there.
    assert photos.find("three/0.jpg") is None
    with pytest.raises(AnnotationError, match=r"one/0\.jpg and two/0\.jpg may both be '0\.jpg'"):
        photos.find("0.jpg")


@pytest.mark.parametrize(
    ("photos", "name", "found"),
    [
        (["frame_1.jpg"], "frame_1.5", None),
        (["frame_1.jpg", "frame_1.5.jpg"], "frame_1.5", "frame_1.5.jpg"),
        (["frame_1.jpg", "frame_1.5.jpg"], "frame_1", "frame_1.jpg"),
        (["v1.jpg", "v1.front.png"], "v1.front", "v1.front.png"),
        (["v1.jpg", "v1.front.png"], "street/v1.front", "v1.front.png"),
        (["v1.jpg", "v1.jpg.png"], "v1.jpg", "v1.jpg"),
        (["v1.jpg"], "v1.bmp", "v1.jpg"),
    ],
)
def test_photos_are_found_where_a_point_is_in_a_name(tmp_path, photos, name, found):
    for path in photos:
        photo(tmp_path / path)
    assert Photos(str(tmp_path), "refuse").find(name) == found


def test_what_systems_put_among_annotations_is_passed_over(root):
    annotate(root / "drawn", "a", {})
    for place in (".ipynb_checkpoints/a-checkpoint.json", "._a.json", "__MACOSX/a.json"):
        (root / "drawn" / place).parent.mkdir(exist_ok=True)
        (root / "drawn" / place).write_bytes(b"\xff\x00")
    assert draw(root).masks == 1


def test_another_command_leaves_masks_alone_that_are_being_drawn(root, monkeypatch):
    output, refused = str(root / "out"), []
    write = polygons.write_png

    def meanwhile(path, mask):
        write(path, mask)
        with pytest.raises(UserError, match="Another process is making") as caught:
            writable.check_folder(output, whole=True)
        refused.append(caught)

    monkeypatch.setattr(polygons, "write_png", meanwhile)
    for name in ("a", "b", "c"):
        annotate(root / "drawn", name, {})
    assert draw(root).masks == len(refused) == len(list((root / "out/masks").iterdir())) == 3


def test_what_came_to_the_output_while_masks_were_drawn_stays(root, monkeypatch):
    annotate(root / "drawn", "a", {})
    write = polygons.write_png

    def meanwhile(path, mask):
        (root / "out").mkdir()
        (root / "out/notes.txt").write_text("mine")
        write(path, mask)

    monkeypatch.setattr(polygons, "write_png", meanwhile)
    with pytest.raises(FileExistsError, match="put there"):
        draw(root)
    assert os.listdir(root / "out") == ["notes.txt"]


def test_photos_of_one_name_are_told_apart_by_where_their_files_lie(root):
    for place in ("one/0.jpg", "two/0.jpg"):
        photo(root / "photos" / place)
    photos = Photos(str(root / "photos"), "refuse")

    def found(place):
        (root / place).mkdir(parents=True, exist_ok=True)
        annotate(root / place, "0", {})
        return photos.of(next(formats.read("labelme", str(root / place))))

    assert found("photos/two") == "two/0.jpg"
    assert found("drawn/two") == "two/0.jpg"
    for place in ("photos/three", "elsewhere"):
        with pytest.raises(AnnotationError, match=r"one/0\.jpg and two/0\.jpg may both be"):
            found(place)


def test_pseudo_labels_come_back_as_masks_but_for_a_pixel_of_their_borders(root):
    """What `predict --pseudo_as=labelme` writes, without a correction, and this command reads."""
    described = label_map_file.read(str(root / "classes.json")).label_map
    canvas = Image.new("L", (90, 60), 0)
    pen = ImageDraw.Draw(canvas)
    for box, value in (
        ((5, 5, 80, 50), 1), ((15, 10, 40, 40), IGNORE), ((22, 16, 33, 30), 0),
        ((50, 20, 70, 44), 0), ((60, -9, 120, 12), IGNORE), ((54, 24, 56, 26), IGNORE),
    ):  # fmt: skip
        pen.ellipse(box, fill=value)
    class_map = np.asarray(canvas)
    photo(root / "photos/street/a.jpg", class_map.shape)
    (root / "photos/a.jpg").unlink()
    labelme.write(root / "drawn/a.json", class_map, described, root / "photos/street/a.jpg")
    classes = label_map_file.read(str(root / "classes.json"))
    drawn = draw(root, ignored=polygons.with_own("labelme", [], classes))
    assert drawn.masks == 1
    mask = images.read_mask(str(root / "out/masks/street/a.png")).ids
    expected = np.choose(np.minimum(class_map, 2), [*described.raw_ids, 0]).astype(np.uint8)
    wrong = mask != expected
    inside = np.ones_like(wrong)
    for axis in (0, 1):
        for step in (-1, 1):
            inside &= np.roll(expected, step, axis) == expected
    # A region of fewer than 20 pixels is left out.
    wrong[24:27, 54:57] = False
    assert not (wrong & inside).any()
    assert 0 < wrong.sum() < 0.02 * wrong.size


def test_labels_that_a_format_ignores_may_be_classes(root):
    text = json.dumps({"classes": [{"name": labelme.IGNORED, "id": 1, "color": "#804080"}]})
    (root / "ignore.json").write_text(text)
    classes = label_map_file.read(str(root / "ignore.json"))
    assert polygons.with_own("labelme", ["sky"], classes) == ["sky"]
    assert polygons.with_own("coco", ["sky"], classes) == ["sky"]


def test_two_files_of_one_photo_are_refused(root):
    annotate(root / "drawn", "a", {})
    text = (root / "drawn/a.json").read_text()
    (root / "drawn/again.json").write_text(text)
    with pytest.raises(AnnotationError, match=r"a\.jpg was drawn on in .*a\.json as well"):
        draw(root)
    (root / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no labelme file \(\*\.json\)"):
        draw(root, annotations="empty")


def test_a_photo_that_is_none_is_named(root):
    annotate(root / "drawn", "a", {})
    (root / "photos/a.jpg").write_bytes(io.BytesIO(b"\xff\xd8\xff none").getvalue())
    with pytest.raises(DataError, match=r"a\.jpg .*"):
        draw(root)


@pytest.mark.parametrize(
    "before", [chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 21))), chunk(b"acTL", b"\0")]
)
def test_photos_with_damaged_notes_are_named(root, before):
    annotate(root / "drawn", "a", {})
    pixels = np.zeros((6, 8, 3), np.uint8)
    (root / "photos/a.jpg").unlink()
    (root / "photos/a.png").write_bytes(png(zlib.compress(rows(pixels)), (6, 8), before=before))
    with pytest.raises(DataError, match=r"a\.png is no readable image"):
        draw(root)
