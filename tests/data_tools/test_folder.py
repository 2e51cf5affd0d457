"""Own data: which images train and validate, and what their masks mean."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from c3tf.data import manifest as manifests
from c3tf.data import tfrecord
from c3tf.data.manifest import LeftOut
from c3tf.errors import DataError
from data_tools import folder
from data_tools.conversion import convert, label_map_file
from data_tools.conversion.example import ConversionOptions
from data_tools.conversion.listing import NO_IMAGE, Naming
from data_tools.conversion.runners import LocalRunner
from image_files import noise
from raw_trees import FOLDER_IDS, pair, save, write_folder

HALF = folder.Validation(fraction=0.5)


def _discover(root, validation=HALF, **arguments):
    return folder.discover(str(root / "photos"), str(root / "masks"), validation, **arguments)


def _names(found, split):
    return [item.name for item in found.pairs if item.split == split]


@pytest.fixture
def root(tmp_path):
    return write_folder(tmp_path / "own data")


def test_pairs_and_unlabeled_images_are_found(root):
    found = _discover(root, unlabeled=[str(root / "more")])
    assert sorted(_names(found, "train") + _names(found, "val")) == [f"{i:02d}" for i in range(10)]
    assert _names(found, "unlabeled") == [f"extra {i}" for i in range(4)]
    item = next(item for item in found.pairs if item.name == "03")
    assert (item.image, item.label) == (
        str(root / "photos/03.jpg"),
        str(root / "masks/03.png"),
    )
    assert item.source == "photos/03.jpg"
    assert str(root / "masks") in found.root


def test_a_share_validates_whatever_else_is_there(tmp_path):
    few = _discover(write_folder(tmp_path / "few", count=20))
    many = _discover(write_folder(tmp_path / "many", count=60))
    assert _names(few, "val") == [name for name in _names(many, "val") if int(name) < 20]
    assert 20 <= len(_names(many, "val")) <= 40
    for fraction, expected in ((0.001, 1), (0.999, 59)):
        found = _discover(tmp_path / "many", folder.Validation(fraction=fraction))
        assert len(_names(found, "val")) == expected


def test_a_list_validates(root, tmp_path):
    (tmp_path / "val.txt").write_text("03\nphotos/07.jpg masks/07.png\n")
    listed = folder.Validation(list_file=str(tmp_path / "val.txt"))
    assert _names(_discover(root, listed), "val") == ["03", "07"]
    (tmp_path / "val.txt").write_text("03\n11\n")
    with pytest.raises(DataError, match=r"val\.txt names 1 images .* 11"):
        _discover(root, listed)
    (tmp_path / "val.txt").write_text("".join(f"{i:02d}\n" for i in range(10)))
    with pytest.raises(DataError, match="none is left to train on"):
        _discover(root, listed)
    with pytest.raises(DataError, match=r"There is no list --val_list=absent\.txt"):
        _discover(root, folder.Validation(list_file="absent.txt"))


def test_folders_of_their_own_validate(root, tmp_path):
    image, mask = pair(50, FOLDER_IDS)
    save(tmp_path / "vi/a.png", image)
    save(tmp_path / "vm/a.png", mask)
    own = folder.Validation(images=str(tmp_path / "vi"), masks=str(tmp_path / "vm"))
    found = _discover(root, own)
    assert (len(_names(found, "train")), _names(found, "val")) == (10, ["a"])
    save(root / "photos/a.png", image)
    save(root / "masks/a.png", mask)
    with pytest.raises(DataError, match=r"1 images of .* are in train and in val, .*'a'"):
        _discover(root, own)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "in one way"),
        ({"fraction": 0.1, "list_file": "x"}, "in one way"),
        ({"fraction": 0.0}, "--val_fraction must lie between"),
        ({"fraction": 1.0}, "--val_fraction must lie between"),
        ({"images": "x"}, "--val_images and --val_masks belong together"),
    ],
)
def test_validation_is_said_in_one_way(arguments, message):
    with pytest.raises(DataError, match=message):
        folder.Validation(**arguments)


def test_masks_may_have_a_suffix(root):
    for path in (root / "masks").iterdir():
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    assert len(_discover(root, mask_suffix="_mask").pairs) == 10
    with pytest.raises(DataError, match=r"none of its 10 images .*00\.jpg.*00_mask\.png"):
        _discover(root)


def test_what_data_sets_append_to_images_stands_before_the_suffix_of_masks(root):
    for path in [*(root / "masks").iterdir(), *(root / "photos").iterdir()]:
        end = "_mask" if path.parent.name == "masks" else ""
        path.rename(path.with_name(f"{path.stem}_leftImg8bit{end}{path.suffix}"))
    assert sorted(pair.name for pair in _discover(root, mask_suffix="_mask").pairs) == [
        f"{i:02d}" for i in range(10)
    ]


@pytest.mark.parametrize("place", ["masks", "photos"])
def test_a_mask_in_other_capital_letters_is_refused_wherever_it_lies(root, place):
    for path in (root / "masks").iterdir():
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    save(root / place / "x_Mask.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match=r"x_Mask\.png ends as masks do \(_mask\) but for capital"):
        _discover(root, mask_suffix="_mask", unlabeled=[str(root / "photos")])


def test_images_and_masks_may_share_a_folder(root):
    for path in (root / "masks").iterdir():
        path.rename(root / "photos" / f"{path.stem}_mask.png")
    found = folder.discover(str(root / "photos"), str(root / "photos"), HALF, mask_suffix="_mask")
    assert len(found.pairs) == 10
    assert not found.left_out["train"]


def test_a_folder_may_give_labeled_and_unlabeled_images(root):
    for name in ("03", "07"):
        (root / "masks" / f"{name}.png").unlink()
    found = _discover(root, unlabeled=[str(root / "photos"), str(root / "more")])
    assert _names(found, "unlabeled")[:2] == ["03", "07"]
    assert not any(found.left_out.values())
    assert len(found.pairs) == 14


@pytest.mark.parametrize("with_folders", [False, True])
def test_what_was_predicted_among_the_photos_is_no_photo(root, with_folders):
    save(root / "photos/overlay/03.png", noise(24, 40))
    record = {"settings": {"format": ["overlay"]}, "images_in": "x", "since": 0, "complete": True}
    (root / "photos/prediction.json").write_text(json.dumps(record))
    found = _discover(root, naming=Naming(with_folders=with_folders))
    assert sorted(_names(found, "train") + _names(found, "val")) == [f"{i:02d}" for i in range(10)]
    assert found.left_out == {"train": (LeftOut("photos/prediction.json", NO_IMAGE),)}


def test_an_empty_name_is_no_folder(root):
    with pytest.raises(DataError, match="given as ''"):
        folder.discover("", str(root / "masks"), HALF)


def test_unlabeled_folders_do_not_repeat_names(root, tmp_path):
    save(tmp_path / "b/extra 0.png", pair(0)[0])
    with pytest.raises(DataError, match=r"unlabeled images are named 'extra 0'.*more.*/b/"):
        _discover(root, unlabeled=[str(root / "more"), str(tmp_path / "b")])
    save(tmp_path / "c/03.png", pair(0)[0])
    save(tmp_path / "c/new.png", pair(0)[0])
    found = _discover(root, unlabeled=[str(tmp_path / "c")])
    assert _names(found, "unlabeled") == ["new"]
    assert found.left_out["unlabeled"][0].source == "c/03.png"


@pytest.mark.parametrize("missing", ["photos", "masks"])
def test_missing_folders_are_named(root, missing):
    (root / missing).rename(root / "elsewhere")
    with pytest.raises(DataError, match=f"no directory '.*{missing}'"):
        _discover(root)


def _run(repository, root, *arguments):
    command = [
        *(sys.executable, "-m", "data_tools.folder", f"--images={root / 'photos'}"),
        *(f"--masks={root / 'masks'}", f"--label_map={root / 'classes.json'}"),
        *(f"--output={root / 'out'}", "--num_workers=1", *arguments),
    ]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("masks", ["ids", "colors", "palette"])
def test_every_kind_of_mask_gives_the_same_labels(tmp_path, masks):
    root = write_folder(tmp_path / "own", masks=masks)
    kind = "colors" if masks == "colors" else "raw"
    described = label_map_file.read(str(root / "classes.json"))
    options = ConversionOptions(
        dataset="yard",
        label_map=described.label_map,
        label_ids=kind,
        palette_masks=masks == "palette",
        ignored_colors=described.ignored_colors,
    )
    found = _discover(root, label_ids=kind)
    manifest = convert.convert(
        found, str(tmp_path / "out"), options, "tests", runner=LocalRunner(1)
    )
    for record in tfrecord.read_shard(manifest.shards("train")[0]):
        raw = pair(int(record.name), FOLDER_IDS)[1]
        expected = np.select([raw == 4, raw == 2, raw == 9], [0, 1, 2], 255)
        np.testing.assert_array_equal(Image.open(io.BytesIO(record.label)), expected)


def test_the_command_converts_and_verifies(repository, tmp_path):
    root = write_folder(tmp_path / "own", masks="colors")
    unlabeled = f"--unlabeled={root / 'more'}"
    flags = ("--masks_are=colors", "--val_fraction=0.3", unlabeled, "--verify")
    done = _run(repository, root, *flags)
    assert done.returncode == 0, done.stderr
    assert f"verified: all 14 images of {root / 'out'}" in done.stdout
    manifest = manifests.load(str(root / "out"))
    assert manifest.label_map.class_names == ("lawn", "path", "shed")
    assert manifest.count("train") + manifest.count("val") == 10
    assert (manifest.count("unlabeled"), manifest.labeled_count("unlabeled")) == (4, 0)
    assert (manifest.dataset, manifest.converter) == ("yard", "data_tools.folder")


@pytest.mark.parametrize(
    ("masks", "flags", "message"),
    [
        ("colors", (), r"masks/.*\.png holds colours \(mode RGB\), not ids.*--masks_are=colors"),
        ("palette", (), r"masks/.*\.png is a palette image.*--palette_masks"),
        ("ids", ("--masks_are=colors",), r"masks/.*\.png holds \d colours .*#040404"),
        ("colors", ("--masks_are=colors", "--palette_masks"), "--palette_masks is for masks of"),
        ("ids", ("--label_map=nowhere.json",), "--label_map=nowhere.json cannot be read"),
        ("ids", ("--height=1",), r"--height=1: must be 0, .* or 16 to 16384 rows"),
        ("ids", ("--height=99999",), "99999"),
        ("ids", ("--beam_option=x=y",), "--beam_option needs --beam_runner"),
        ("ids", ("--strict", "--skip_bad"), "exclude each other"),
    ],
)
def test_mistakes_end_in_one_line(repository, tmp_path, masks, flags, message):
    root = write_folder(tmp_path / "own", masks=masks)
    done = _run(repository, root, "--val_fraction=0.3", *flags)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "error: " in line]
    with pytest.raises(ValueError, match=message):
        raise ValueError(line)
    assert not (root / "out" / manifests.FILE_NAME).exists()


def test_an_id_outside_the_map_is_named(repository, tmp_path):
    root = write_folder(tmp_path / "own")
    data = json.loads((root / "classes.json").read_text())
    data["classes"].pop()
    (root / "classes.json").write_text(json.dumps(data))
    done = _run(repository, root, "--val_fraction=0.3")
    assert done.returncode == 2
    assert "does not know as raw ids: 9 (" in done.stderr
