"""What each discovery finds, and what it says about a wrong directory."""

import dataclasses
import os
import shutil

import numpy as np
import pytest

from c3tf.data.manifest import LeftOut
from c3tf.errors import DataError
from data_tools import bdd100k, camvid, cityscapes
from data_tools.conversion import pairing
from data_tools.conversion.example import SourcePair
from raw_trees import pair, save, write_bdd100k, write_camvid, write_cityscapes

pytestmark = pytest.mark.smoke

BLANK = np.zeros((24, 32, 3), np.uint8)


def _names(found, split):
    return [item.name for item in found.pairs if item.split == split]


def test_camvid(tmp_path):
    found = camvid.discover(str(write_camvid(tmp_path / "c", train=2, val=1)))
    assert _names(found, "train") == ["train 00", "train 01"]
    assert _names(found, "val") == ["val 00"]
    first = found.pairs[0]
    assert first.source == "train/train 00.png"
    assert first.label == str(tmp_path / "c/trainannot/train 00.png")
    assert found.label_ids == "raw"
    assert not any(found.left_out.values())


@pytest.mark.parametrize(
    ("kinds", "labels", "ids"),
    [
        (("labelIds",), "auto", "raw"),
        (("labelTrainIds",), "auto", "train"),
        (("labelIds", "labelTrainIds"), "auto", "raw"),
        (("labelIds", "labelTrainIds"), "labelTrainIds", "train"),
    ],
)
def test_cityscapes_masks(tmp_path, kinds, labels, ids):
    found = cityscapes.discover(str(write_cityscapes(tmp_path, kinds)), labels)
    assert _names(found, "train") == ["aachen_000000_000019", "bochum_000000_000019"]
    assert _names(found, "val") == ["lindau_000000_000019"]
    assert found.label_ids == ids
    assert all(item.label.endswith(f"{found.layout.split()[-1]}.png") for item in found.pairs)


def test_cityscapes_without_masks_of_the_wanted_kind(tmp_path):
    write_cityscapes(tmp_path, ("labelIds",))
    with pytest.raises(DataError, match=r"no \*_gtFine_labelTrainIds\.png"):
        cityscapes.discover(str(tmp_path), "labelTrainIds")


@pytest.mark.parametrize("folder", ["leftImg8bit", "leftImg8bit_trainextra/leftImg8bit"])
def test_cityscapes_extra_images(tmp_path, folder):
    write_cityscapes(tmp_path)
    extra = tmp_path / folder / "train_extra/bonn/bonn_000000_000001_leftImg8bit.png"
    with pytest.raises(DataError, match="no extra images"):
        cityscapes.discover(str(tmp_path), extra=True)
    save(extra, BLANK)
    found = cityscapes.discover(str(tmp_path), extra=True)
    assert _names(found, "unlabeled") == ["bonn_000000_000001"]
    assert found.pairs[-1].label is None
    assert not _names(cityscapes.discover(str(tmp_path)), "unlabeled")


@pytest.mark.parametrize("folder", ["gtCoarse", "gtCoarse/gtCoarse"])
def test_cityscapes_coarse_labels_go_with_the_extra_images(tmp_path, folder):
    write_cityscapes(tmp_path)
    for index in range(2):
        name = f"bonn_000000_00000{index}"
        save(tmp_path / f"leftImg8bit/train_extra/bonn/{name}_leftImg8bit.png", BLANK)
    with pytest.raises(DataError, match="it needs --extra"):
        cityscapes.discover(str(tmp_path), coarse=True)
    with pytest.raises(DataError, match="no coarse labels; looked for gtCoarse/train_extra"):
        cityscapes.discover(str(tmp_path), extra=True, coarse=True)
    mask = tmp_path / folder / "train_extra/bonn/bonn_000000_000000_gtCoarse_labelIds.png"
    save(mask.with_name("bonn_000000_000000_gtCoarse_color.png"), BLANK)
    with pytest.raises(DataError, match=r"holds no \*_gtCoarse_labelIds\.png"):
        cityscapes.discover(str(tmp_path), extra=True, coarse=True)
    save(mask, BLANK[:, :, 0])
    found = cityscapes.discover(str(tmp_path), extra=True, coarse=True)
    extra = [item for item in found.pairs if item.split == "unlabeled"]
    assert [item.label for item in extra] == [str(mask), None]
    assert found.layout.endswith("and gtCoarse")


@pytest.mark.parametrize("old", [False, True])
def test_bdd100k_layouts(tmp_path, old):
    found = bdd100k.discover(str(write_bdd100k(tmp_path, old)))
    assert _names(found, "train") == ["t000-d4dff0ad", "t001-d4dff0ad"]
    assert _names(found, "val") == ["v000-d4dff0ad", "v001-d4dff0ad"]
    assert found.label_ids == "train"
    assert ("seg" in found.layout) == old


def test_bdd100k_extra_images_never_hold_validation_images(tmp_path):
    write_bdd100k(tmp_path)
    for name in ("new", "v000-d4dff0ad", "t001-d4dff0ad"):
        save(tmp_path / "images/100k/train" / f"{name}.jpg", BLANK)
    found = bdd100k.discover(str(tmp_path), extra=True)
    assert _names(found, "unlabeled") == ["new"]
    assert len(found.left_out["unlabeled"]) == 2


@pytest.mark.parametrize("level", ["camvid/train", "."])
def test_wrong_folder_level_suggests_the_right_one(tmp_path, level):
    root = write_camvid(tmp_path / "camvid", train=1, val=1)
    with pytest.raises(DataError, match=rf"must hold train/ and .*Found: .*--source={root}\?"):
        camvid.discover(str((tmp_path / level).resolve()))


def test_wrong_data_set_says_what_was_expected_and_found(tmp_path):
    write_camvid(tmp_path, train=1, val=1)
    with pytest.raises(DataError, match=r"leftImg8bit/train/ .* Found: train, trainannot, val"):
        cityscapes.discover(str(tmp_path))
    with pytest.raises(DataError, match=r"images/10k/train/ .*, or seg/images/train/ .* Found: tr"):
        bdd100k.discover(str(tmp_path))


def test_missing_source_directory(tmp_path):
    with pytest.raises(DataError, match="no source directory"):
        camvid.discover(str(tmp_path / "nowhere"))


def test_orphans_are_reported(tmp_path):
    write_camvid(tmp_path, train=3, val=1)
    (tmp_path / "trainannot/train 00.png").unlink()
    (tmp_path / "train/train 02.png").unlink()
    found = camvid.discover(str(tmp_path))
    assert _names(found, "train") == ["train 01"]
    assert [(e.source, e.reason) for e in found.left_out["train"]] == [
        ("train/train 00.png", "image without a label"),
        ("trainannot/train 02.png", "label without image"),
    ]


def test_duplicate_stems_are_refused(tmp_path):
    write_camvid(tmp_path, train=2, val=1)
    save(tmp_path / "train/train 01.jpg", BLANK)
    with pytest.raises(DataError, match=r"'train 01': train/train 01\.jpg and train/train 01\.png"):
        camvid.discover(str(tmp_path))


@pytest.mark.parametrize("emptied", ["train", "trainannot", "val"])
def test_empty_splits_are_refused(tmp_path, emptied):
    write_camvid(tmp_path, train=2, val=1)
    shutil.rmtree(tmp_path / emptied)
    (tmp_path / emptied).mkdir()
    with pytest.raises(DataError, match=r"holds no image|is empty: none of its 2 images"):
        camvid.discover(str(tmp_path))


def test_names_that_never_match_are_refused(tmp_path):
    write_camvid(tmp_path, train=1, val=1)
    (tmp_path / "valannot/val 00.png").rename(tmp_path / "valannot/other.png")
    with pytest.raises(DataError, match=r"none of its 1 images .*val 00\.png.*other\.png"):
        camvid.discover(str(tmp_path))


def test_hidden_files_and_strangers_are_ignored(tmp_path):
    write_camvid(tmp_path, train=1, val=1)
    (tmp_path / "train/._train 00.png").write_bytes(b"mac")
    (tmp_path / "train/Thumbs.db").write_bytes(b"windows")
    assert _names(camvid.discover(str(tmp_path)), "train") == ["train 00"]


def test_accents_pair_however_they_are_spelled(tmp_path):
    write_camvid(tmp_path, train=1, val=1)
    save(tmp_path / "train/K\u00f6ln.png", BLANK)
    save(tmp_path / "trainannot/Ko\u0308ln.png", BLANK[:, :, 0])
    assert "K\u00f6ln" in _names(camvid.discover(str(tmp_path)), "train")


def test_folders_with_a_dot_are_searched_and_other_files_listed(tmp_path):
    root = write_camvid(tmp_path / "camvid")
    image, mask = pair(0)
    save(root / "train/2024.05.01/later.png", image)
    save(root / "trainannot/2024.05.01/later.png", mask)
    (root / "train/notes.txt").write_text("mine")
    found = camvid.discover(str(root))
    assert "later" in [item.name for item in found.pairs]
    assert found.left_out["train"] == (LeftOut("train/notes.txt", pairing.NO_IMAGE),)


def test_an_image_that_trains_cannot_validate(tmp_path):
    root = write_camvid(tmp_path / "camvid")
    image, mask = pair(0)
    save(root / "val/train 00.png", image)
    save(root / "valannot/train 00.png", mask)
    with pytest.raises(DataError, match=r"1 images of .* are in train and in val, .*'train 00'"):
        camvid.discover(str(root))


def test_extra_images_that_are_all_known_are_refused(tmp_path):
    root = write_bdd100k(tmp_path / "bdd")
    for path in (root / "images/10k/train").iterdir():
        save(root / "images/100k/train" / path.name, pair(0)[0])
    with pytest.raises(DataError, match=r"images/100k/train adds no unlabeled image: .* all 2"):
        bdd100k.discover(str(root), extra=True)


def test_an_incomplete_published_data_set_is_noticed(tmp_path):
    found = camvid.discover(str(write_camvid(tmp_path / "camvid")))
    # CamVid, like others, is not in the paper.
    assert not [line for line in found.missing() if "paper" in line]
    assert [line.partition(":")[0] for line in found.missing()] == [
        "train holds 9 images with labels, the published data set 367",
        "val holds 3 images with labels, the published data set 101",
    ]
    items = tuple(
        SourcePair(split, f"{split} {index}", "", None, "")
        for split, count in found.published.items()
        for index in range(count)
    )
    assert not dataclasses.replace(found, pairs=items).missing()


@pytest.mark.parametrize("folder", ["train", "trainannot"])
def test_names_that_cannot_be_printed_are_refused(tmp_path, folder):
    root = write_camvid(tmp_path / "camvid")
    odd = os.fsencode(root / folder) + b"/caf\xe9"
    os.mkdir(odd)
    with open(odd + b"/x.png", "wb"):
        pass
    with pytest.raises(DataError, match=rf"{folder}/caf.* cannot be used. Rename it"):
        camvid.discover(str(root))


def test_a_layout_says_what_is_missing_and_where_it_lies(tmp_path):
    root = write_cityscapes(tmp_path / "c")
    (root / "gtFine").rename(root / "zip")
    (root / "gtFine").mkdir()
    (root / "zip").rename(root / "gtFine/gtFine")
    with pytest.raises(
        DataError,
        match=r"Missing: gtFine/train/, gtFine/val/\. It lies in .*c/gtFine: move it up",
    ):
        cityscapes.discover(str(root))
    (tmp_path / "a/b").mkdir(parents=True)
    write_camvid(tmp_path / "a/b/camvid")
    with pytest.raises(DataError, match=r"Did you mean --source=.*/a/b/camvid\?"):
        camvid.discover(str(tmp_path / "a"))


def test_a_relative_source_below_the_data_set_is_told(tmp_path, monkeypatch):
    root = write_camvid(tmp_path / "camvid")
    monkeypatch.chdir(root / "train")
    with pytest.raises(DataError, match=r"Did you mean --source=.*/camvid\?"):
        camvid.discover(".")


def test_masks_of_another_kind_are_told(tmp_path):
    root = write_bdd100k(tmp_path / "bdd", old=True)
    for path in (root / "seg/labels").rglob("*_train_id.png"):
        path.rename(path.with_name(path.name.replace("_train_id", "")))
    with pytest.raises(DataError, match=r"Wanted: \*_train_id\.png in seg/labels/train.*none"):
        bdd100k.discover(str(root))


def test_membership_in_a_published_split_keeps_an_image_out_of_the_unlabeled(tmp_path):
    """Whether it can be converted does not matter: images without masks, masks without images."""
    root = write_bdd100k(tmp_path / "bdd")
    (root / "labels/sem_seg/masks/val/v001-d4dff0ad.png").unlink()
    (root / "images/10k/val/v000-d4dff0ad.jpg").unlink()
    save(root / "images/10k/val/v002-d4dff0ad.jpg", BLANK)
    save(root / "labels/sem_seg/masks/val/v002-d4dff0ad.png", BLANK[..., 0])
    known = ("t000", "v000", "v001", "e000")
    for name in (*known, "new0"):
        save(root / f"images/100k/train/{name}-d4dff0ad.jpg", BLANK)
    found = bdd100k.discover(str(root), extra=True)
    assert _names(found, "unlabeled") == ["e000-d4dff0ad", "new0-d4dff0ad"]
    assert "images/10k/test is not there" in found.notices[0]
    save(root / "images/10k/test/e000-d4dff0ad.jpg", BLANK)
    found = bdd100k.discover(str(root), extra=True)
    assert _names(found, "unlabeled") == ["new0-d4dff0ad"]
    assert not found.notices
    assert len(found.left_out["unlabeled"]) == len(known)


def test_cityscapes_test_images_and_labels_are_no_extra_images(tmp_path):
    root = write_cityscapes(tmp_path)
    extra = root / "leftImg8bit/train_extra/x"
    for name in ("x_1", "lindau_000000_000019", "berlin_1"):
        save(extra / f"{name}_leftImg8bit.png", BLANK)
    save(root / "leftImg8bit/test/berlin/berlin_1_leftImg8bit.png", BLANK)
    save(extra / "x_1_gtCoarse_labelIds.png", BLANK[..., 0])
    (root / "gtFine/val/lindau/lindau_000000_000020_gtFine_labelIds.png").write_bytes(b"")
    save(extra / "lindau_000000_000020_leftImg8bit.png", BLANK)
    assert _names(cityscapes.discover(str(root), extra=True), "unlabeled") == ["x_1"]


def test_the_other_kind_of_cityscapes_ids_is_told(tmp_path):
    root = write_cityscapes(tmp_path / "a", ("labelIds",))
    with pytest.raises(DataError, match=r"no \*_gtFine_labelTrainIds\.png of .*--labels=labelIds"):
        cityscapes.discover(str(root), "labelTrainIds")
    for path in (root / "gtFine/val").rglob("*_labelIds.png"):
        path.rename(path.with_name(path.name.replace("labelIds", "labelTrainIds")))
    with pytest.raises(DataError, match=r"'val' .*none of this kind, but labelTrainIds"):
        cityscapes.discover(str(root))


def test_packed_and_nested_folders_are_told(tmp_path):
    (tmp_path / "zip").mkdir()
    (tmp_path / "zip/leftImg8bit_trainvaltest.zip").write_bytes(b"")
    with pytest.raises(DataError, match=r"Unpack leftImg8bit_trainvaltest\.zip there first"):
        cityscapes.discover(str(tmp_path / "zip"))
    root = write_cityscapes(tmp_path / "nested")
    for name in ("leftImg8bit", "gtFine"):
        (root / f"{name}_trainvaltest").mkdir()
        (root / name).rename(root / f"{name}_trainvaltest" / name)
    with pytest.raises(DataError, match=r"gtFine/train/ in .*gtFine_trainvaltest.*: move them up"):
        cityscapes.discover(str(root))


def test_both_layouts_of_bdd100k_are_told(tmp_path):
    root = write_bdd100k(write_bdd100k(tmp_path / "bdd"), old=True)
    assert "(layout seg is there too, and is not read)" in bdd100k.discover(str(root)).layout


def test_coarse_labels_without_an_image_are_reported(tmp_path):
    root = write_cityscapes(tmp_path / "c")
    image, mask = pair(0)
    save(root / "leftImg8bit/train_extra/x/x_1_1_leftImg8bit.png", image)
    for name in ("x_1_1", "x_1_2"):
        save(root / f"gtCoarse/train_extra/x/{name}_gtCoarse_labelIds.png", mask)
    found = cityscapes.discover(str(root), extra=True, coarse=True)
    assert [entry.reason for entry in found.left_out["unlabeled"]] == ["label without image"]


def test_a_source_that_is_not_utf_8_is_refused(tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    write_camvid(tmp_path / "camvid").rename(odd)
    with pytest.raises(DataError, match="is not UTF-8"):
        camvid.discover(odd)
