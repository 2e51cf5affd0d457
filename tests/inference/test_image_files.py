"""Finding images: folders, files, patterns, and what lies among them that is no image."""

import json

import numpy as np
import pytest
from PIL import Image

import tiny_network
from c3tf.errors import UserError
from c3tf.inference import prediction
from c3tf.inference.image_files import Input, find_images
from c3tf.inference.prediction_files import Outputs

pytestmark = pytest.mark.smoke

SIZES = {"a.png": (24, 40), "street/b.PNG": (17, 33), "street/c.jpg": (30, 20)}


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for seed, (name, size) in enumerate(SIZES.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tiny_network.noise(seed, *size)).save(folder / name)
    return folder


def record_of(*formats):
    """Returns what a prediction writes beside the folders of its formats."""
    settings = {"format": list(formats)}
    return json.dumps({"settings": settings, "images_in": "x", "since": 0, "complete": True})


def names(pattern, exclude=()):
    return [item.name for item in find_images(str(pattern), exclude).inputs]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", ["a", "street/b", "street/c"]),
        ("/street", ["b", "c"]),
        ("/a.png", ["a"]),
        ("/*", ["a"]),
        ("/street/*.jpg", ["c"]),
        ("/**/*.[jp][pn]g", ["a", "street/c"]),
    ],
)
def test_folders_files_and_patterns(photos, pattern, expected):
    found = find_images(f"{photos}{pattern}")
    assert [item.name for item in found.inputs] == expected
    assert found.left_out == {}


def test_relative_to_the_working_directory(photos, monkeypatch):
    monkeypatch.chdir(photos)
    assert names("a.png") == names("*.png") == ["a"]
    assert names(".") == ["a", "street/b", "street/c"]


def test_what_was_predicted_is_no_photo(photos):
    """Predicted into the photos' folder once, and now into another one."""
    for folder in ("", "out"):
        for kind in ("train_ids", "overlay"):
            (photos / folder / kind).mkdir(parents=True)
            Image.fromarray(np.zeros((4, 4), np.uint8)).save(photos / folder / kind / "a.png")
    assert names(photos) == [
        "a", "out/overlay/a", "out/train_ids/a",
        "overlay/a", "street/b", "street/c", "train_ids/a",
    ]  # fmt: skip
    for folder in ("", "out"):
        (photos / folder / "prediction.json").write_text(record_of("train_ids", "overlay"))
    assert names(photos) == ["a", "street/b", "street/c"]
    assert names(photos / "**" / "*") == ["a", "street/b", "street/c"]
    assert names(photos / "overlay" / "*.png") == ["a"]


def test_what_an_earlier_prediction_wrote_is_no_photo_either(photos):
    """Predicted once more with other formats, into the same folder."""
    for formats in (("color",), ("confidence",), ("train_ids", "confidence")):
        inputs = find_images(photos).inputs
        outputs = Outputs(photos / "out", tiny_network.LABEL_MAP, formats)
        prediction.remaining(inputs, outputs, {"format": formats}, overwrite=True)
        for kind in formats:
            (photos / "out" / kind).mkdir(exist_ok=True)
            Image.fromarray(np.zeros((4, 4), np.uint8)).save(photos / "out" / kind / "a.png")
        assert names(photos) == ["a", "street/b", "street/c"]


@pytest.mark.parametrize(
    "record",
    [
        "{}",
        "no JSON",
        '{"settings": 3}',
        '{"settings": {"format": ["color"]}}',
        record_of("train_ids"),
        record_of({}),
    ],
)
def test_photos_in_a_folder_named_as_those_of_predictions_are_photos(photos, record):
    """Of another tool, or of a prediction that wrote none there."""
    (photos / "color").mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(photos / "color" / "z.png")
    (photos / "prediction.json").write_text(record)
    assert names(photos) == ["a", "color/z", "street/b", "street/c"]


def test_hidden_files_other_files_and_excluded_folders_are_no_input(photos):
    (photos / "._a.png").write_bytes(b"resource fork")
    (photos / "notes.txt").write_text("no image")
    for folder in (".thumbnails", "out/color"):
        (photos / folder).mkdir(parents=True)
        (photos / "a.png").rename(photos / folder / "z.png").rename(photos / "a.png")
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(photos / folder / "z.png")
    found = find_images(str(photos), [photos / "out/color"])
    assert [item.name for item in found.inputs] == ["a", "street/b", "street/c"]
    assert found.left_out == {}


def test_folders_that_are_links_are_searched_and_circles_are_not(photos, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    Image.fromarray(tiny_network.noise(0, 4, 4)).save(tmp_path / "elsewhere/z.png")
    before = [item.name for item in find_images(str(photos)).inputs]
    (photos / "link").symlink_to(tmp_path / "elsewhere")
    (photos / "circle").symlink_to(photos.parent)
    found = [item.name for item in find_images(str(photos)).inputs]
    assert sorted(found) == sorted([*before, "link/z"])


def test_what_looks_like_an_image_and_is_none_is_reported(photos):
    (photos / "street/gone.png").symlink_to(photos / "nothing.png")
    (photos / "street/good.png").symlink_to(photos / "a.png")
    (photos / "moving.gif").write_bytes(b"GIF89a")
    (photos / "scan.TIFF").write_bytes(b"II*")
    (photos / "folder.png").mkdir()
    found = find_images(str(photos))
    assert [item.name for item in found.inputs] == ["a", "street/b", "street/c", "street/good"]
    reasons = {path.name: reason for path, reason in found.left_out.items()}
    assert sorted(reasons) == ["gone.png", "moving.gif", "scan.TIFF"]
    assert "link" in reasons["gone.png"]
    assert "only JPEG and PNG" in reasons["moving.gif"]


def test_a_file_named_itself_is_tried_whatever_its_ending(photos):
    odd = photos / "frame.jfif"
    (photos / "street/c.jpg").rename(odd)
    assert find_images(str(odd)).inputs == [Input(odd, "frame")]


@pytest.mark.parametrize("pattern", ["nothing-here", "empty", "*.bmp", "texts/*"])
def test_nothing_found_is_an_error(tmp_path, pattern):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("no image")
    with pytest.raises(UserError, match="No image found"):
        find_images(str(tmp_path / pattern))


def test_outputs_that_would_collide_are_refused(photos):
    Image.fromarray(tiny_network.noise(1, 8, 8)).save(photos / "a.jpg")
    with pytest.raises(UserError, match=r"a\.jpg and .*a\.png would both"):
        find_images(str(photos))


def test_systems_folders_endings_and_long_names(tmp_path):
    for name in ("a.jfif", "b.JPE", "@eaDir/a.jpg", "__MACOSX/b.png", "IMG1", "README", "c.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\xff\xd8\xff" if name != "README" else b"mine")
    long = "x" * 252
    (tmp_path / long).write_bytes(b"\x89PNG\r\n\x1a\n")
    found = find_images(str(tmp_path))
    assert [item.name for item in found.inputs] == ["IMG1", "a", "b", "c"]
    assert found.left_out == {tmp_path / long: "its name is too long for those of its results"}


def test_a_list_names_files_from_its_own_folder(photos, tmp_path, monkeypatch):
    (photos / "notes.gif").write_bytes(b"GIF89a")
    text = "street/c.jpg\n\n  a.png \nstreet/../a.png\nabsent.png\nnotes.gif\n"
    (photos / "some.TXT").write_text(text, encoding="utf-16")
    monkeypatch.chdir(tmp_path)
    for given in (photos / "some.TXT", "photos/some.TXT"):
        found = find_images(str(given))
        assert [item.name for item in found.inputs] == ["a", "street/c"]
        assert [item.path for item in found.inputs] == [photos / "a.png", photos / "street/c.jpg"]
        reasons = {path.name: reason for path, reason in found.left_out.items()}
        assert reasons["absent.png"] == "there is no such file"
        assert "only JPEG and PNG" in reasons["notes.gif"]
        assert len(reasons) == 2


def test_a_list_of_files_elsewhere_names_them_below_the_folder_that_they_share(photos, tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/some.txt").write_text(f"../photos/a.png\n{photos}/street/b.PNG\n")
    assert names(tmp_path / "lists/some.txt") == ["a", "street/b"]
    (tmp_path / "lists/empty.txt").write_text("\n")
    with pytest.raises(UserError, match="No image found"):
        find_images(str(tmp_path / "lists/empty.txt"))
