"""Own folders that lie in one another: no mask is an image, no validation image is unlabeled."""

import os

import numpy as np
import pytest

from c3tf.errors import DataError
from c3tf.io import files
from data_tools import folder
from data_tools.conversion.pairing import Naming
from raw_trees import FOLDER_IDS, pair, save, write_folder

HALF = folder.Validation(fraction=0.5)


def _write(root, places):
    """Writes images and masks: path of the image to path of its mask, or None."""
    for index, (image, mask) in enumerate(places.items()):
        pixels, ids = pair(index, FOLDER_IDS)
        save(root / image, pixels)
        if mask:
            save(root / mask, ids)


def _discover(root, images, masks, unlabeled=(), validation=HALF, **arguments):
    below = [str(root / path) for path in (images, masks)]
    extra = [str(root / path) for path in unlabeled]
    return folder.discover(*below, validation, extra, **arguments)


def _names(found, *splits):
    return sorted(item.name for item in found.pairs if item.split in splits)


@pytest.mark.parametrize(
    ("images", "masks", "unlabeled", "suffix", "mask"),
    [
        ("all", "all", "all", "_mask", "all/{}_mask.png"),
        ("all", "all/masks", "all", "", "all/masks/{}.png"),
        ("all", "all/masks", "all", "_mask", "all/masks/{}_mask.png"),
        ("all/photos", "all", "all/photos", "", "all/{}.png"),
        ("all/photos", "all/masks", "all", "", "all/masks/{}.png"),
        ("all", "all", "all", "", "all/{}.png"),
        ("all", "all", "all", "_gt", "all/seq/{}_gt.png"),
    ],
)
def test_no_mask_is_an_image(tmp_path, images, masks, unlabeled, suffix, mask):
    place = "all/photos" if "photos" in images else "all"
    _write(
        tmp_path, {f"{place}/f{i}.jpg": mask.format(f"f{i}") if i < 4 else None for i in range(6)}
    )
    if suffix:
        # A mask without its image, and one in a format that is no mask.
        save(tmp_path / f"all/f9{suffix}.png", np.zeros((4, 4), np.uint8))
        save(tmp_path / f"all/f8{suffix}.jpg", np.zeros((4, 4), np.uint8))
    found = _discover(tmp_path, images, masks, [unlabeled], mask_suffix=suffix)
    assert _names(found, "train", "val") == ["f0", "f1", "f2", "f3"]
    assert _names(found, "unlabeled") == ["f4", "f5"]
    if "photos" not in images:
        assert "are masks, and images of no split" in found.notices[0]


def test_masks_of_validation_are_no_unlabeled_images(tmp_path):
    _write(
        tmp_path, {"t/a.jpg": "tm/a.png", "v/b.jpg": "v/m/b.png", "v/c.jpg": None, "v/e.jpg": None}
    )
    own = folder.Validation(images=str(tmp_path / "v"), masks=str(tmp_path / "v/m"))
    (tmp_path / "more").mkdir()
    for name in ("b", "c", "d"):
        save(tmp_path / f"more/{name}.png", pair(9)[0])
    found = _discover(tmp_path, "t", "tm", ["more"], own)
    assert _names(found, "unlabeled") == ["d"]
    (tmp_path / "more/d.png").unlink()
    with pytest.raises(DataError, match="adds no unlabeled image"):
        _discover(tmp_path, "t", "tm", ["v"], own)


def test_links_to_masks_and_to_labeled_images_are_no_unlabeled_images(tmp_path):
    root = write_folder(tmp_path, count=4, unlabeled=2)
    os.link(root / "masks/01.png", root / "more/hard.png")
    os.symlink(root / "masks/02.png", root / "more/soft.png")
    os.link(root / "photos/03.jpg", root / "more/copy.jpg")
    found = _discover(root, "photos", "masks", ["more"])
    assert _names(found, "unlabeled") == ["extra 0", "extra 1"]
    (entry,) = found.left_out["unlabeled"]
    assert (entry.source, entry.reason) == ("more/copy.jpg", "a link to an image in train or val")
    (root / "more/soft.png").unlink()
    (root / "masks").rename(root / "photos/m")
    (root / "link").symlink_to(root / "photos/m")
    save(root / "photos/m/of no image.png", np.zeros((4, 4), np.uint8))
    save(root / "photos/free.png", np.zeros((4, 4, 3), np.uint8))
    found = _discover(root, "photos", "link", ["photos", "more"])
    assert _names(found, "train", "val") == [f"0{i}" for i in range(4)]
    assert _names(found, "unlabeled") == ["extra 0", "extra 1", "free"]


def test_a_link_to_a_labeled_image_does_not_validate(tmp_path):
    _write(tmp_path, {f"t/{i}.jpg": f"tm/{i}.png" for i in range(3)} | {"v/x.jpg": "vm/x.png"})
    (tmp_path / "v/y.jpg").symlink_to(tmp_path / "t/1.jpg")
    (tmp_path / "vm/y.png").symlink_to(tmp_path / "tm/1.png")
    own = folder.Validation(str(tmp_path / "v"), str(tmp_path / "vm"))
    with pytest.raises(
        DataError, match=r"t/1\.jpg and .*v/y\.jpg are one file, in train and in val"
    ):
        _discover(tmp_path, "t", "tm", [], own)


def test_copies_of_validation_images_are_told(tmp_path):
    _write(tmp_path, {f"t/{i}.jpg": f"tm/{i}.png" for i in range(3)})
    _write(tmp_path, {f"v/v{i}.jpg": f"vm/v{i}.png" for i in range(2)})
    for index in range(3):
        save(tmp_path / f"u/u{index}.png", pair(9 + index)[0])
    own = folder.Validation(str(tmp_path / "v"), str(tmp_path / "vm"))
    for index in range(2):
        save(tmp_path / f"v/v{index}.jpg", pair(7 + index)[0])
    assert _discover(tmp_path, "t", "tm", ["u"], own).notices == ()
    (tmp_path / "u/u1.png").write_bytes((tmp_path / "v/v0.jpg").read_bytes())
    (tmp_path / "t/2.jpg").write_bytes((tmp_path / "v/v1.jpg").read_bytes())
    (told,) = _discover(tmp_path, "t", "tm", ["u"], own).notices
    assert told.startswith("2 validation images are copies of images that are trained on")
    assert "v/v0.jpg of u/u1.png" in told or "v/v1.jpg of t/2.jpg" in told


def test_an_image_on_a_bucket_cannot_train_and_validate(tmp_path):
    """Folders in one another, where the two have different names in their splits."""
    _write(
        tmp_path,
        {f"p/{place}{i}.jpg": f"m/{place}{i}.png" for place in ("", "val/") for i in "012"},
    )
    bucket = "ram://nested"
    for path in tmp_path.rglob("*.*"):
        target = f"{bucket}/{path.relative_to(tmp_path).as_posix()}"
        files.make_dirs(os.path.dirname(target))
        files.write_bytes(target, path.read_bytes())
    own = folder.Validation(f"{bucket}/p/val", f"{bucket}/m/val")
    with pytest.raises(DataError, match="are one file, in train and in val"):
        folder.discover(f"{bucket}/p", f"{bucket}/m", own, naming=Naming(with_folders=True))


def test_a_suffix_in_other_letters_is_refused(tmp_path):
    _write(tmp_path, {f"all/f{i}.jpg": f"all/f{i}_mask.png" for i in range(3)})
    (tmp_path / "all/f2_mask.png").rename(tmp_path / "all/f2_Mask.png")
    with pytest.raises(DataError, match=r"f2_Mask\.png ends as masks do \(_mask\) but for capital"):
        _discover(tmp_path, "all", "all", ["all"], mask_suffix="_mask")


def test_suffixes_of_images(tmp_path):
    places = {f"rgb/seq/f{i}_rgb.png": f"gt/seq/f{i}_gt.png" for i in range(3)}
    _write(tmp_path, places)
    save(tmp_path / "rgb/seq/f0_depth.png", pair(0)[0])
    found = _discover(tmp_path, "rgb", "gt", mask_suffix="_gt", naming=Naming("_rgb"))
    assert _names(found, "train", "val") == ["f0", "f1", "f2"]
    assert found.image_suffix == "_rgb"
    with pytest.raises(DataError, match=r"holds no image .* whose name ends in _x; none of its 4"):
        _discover(tmp_path, "rgb", "gt", mask_suffix="_gt", naming=Naming("_x"))


def test_equal_names_in_folders_of_sequences(tmp_path):
    _write(tmp_path, {f"rgb/{i}/0001_leftImg8bit.png": f"gt/{i}/0001_gt.png" for i in range(3)})
    with pytest.raises(DataError, match=r"are named '0001': gt/0/.*--names=path"):
        _discover(tmp_path, "rgb", "gt", mask_suffix="_gt")
    listed = tmp_path / "val.txt"
    listed.write_text("rgb/1/0001_leftImg8bit.png gt/1/0001_gt.png\n")
    found = _discover(
        tmp_path,
        "rgb",
        "gt",
        validation=folder.Validation(list_file=str(listed)),
        mask_suffix="_gt",
        naming=Naming(with_folders=True),
    )
    assert (_names(found, "train"), _names(found, "val")) == (["0__0001", "2__0001"], ["1__0001"])
    for item in found.pairs:
        assert item.image.split("/")[-2] == item.label.split("/")[-2] == item.name[0]


@pytest.mark.parametrize("name", ["@eaDir", "__MACOSX", ".ipynb_checkpoints", "#recycle"])
def test_folders_of_the_system_are_not_searched(tmp_path, name):
    root = write_folder(tmp_path, count=3, unlabeled=0)
    for place in ("photos", "masks"):
        save(root / place / name / "00.jpg" / "SYNOPHOTO_THUMB_M.jpg", pair(0)[0])
        save(root / place / name / "00.png", pair(0)[0])
    (root / "photos/Thumbs.db").write_bytes(b"")
    found = _discover(root, "photos", "masks")
    assert len(found.pairs) == 3
    assert not any(found.left_out.values())


@pytest.mark.parametrize("ending", [".jfif", ".JPE", ""])
def test_images_of_other_endings_are_found(tmp_path, ending):
    root = write_folder(tmp_path, count=3, unlabeled=0)
    (root / "photos/00.jpg").rename(root / f"photos/00{ending}")
    (root / "photos/README").write_text("mine")
    found = _discover(root, "photos", "masks")
    assert len(found.pairs) == 3
    assert [entry.source for entry in found.left_out["train"]] == ["photos/README"]


def test_masks_of_other_kinds_are_told(tmp_path):
    root = write_folder(tmp_path, count=3, unlabeled=0)
    for path in (root / "masks").iterdir():
        path.rename(path.with_suffix(".jpg"))
    with pytest.raises(DataError, match=r"Found: none \(files by ending: 3 \.jpg\)\. JPEG blurs"):
        _discover(root, "photos", "masks")
