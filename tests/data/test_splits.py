"""Splits: the paper's draw, its text list, and the lists of peers."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c3tf.data import splits
from c3tf.errors import DataError

pytestmark = pytest.mark.smoke

NAMES = [f"city_{i:06d}_000019" for i in range(2975)]


@pytest.mark.parametrize("seed", [12345, 23456, 34567])
@pytest.mark.parametrize("count", [100, 372, 744])
def test_draw_is_the_published_rule(seed, count):
    order = np.random.RandomState(seed).permutation(len(NAMES))
    split = splits.draw(reversed(NAMES), count, seed)
    assert set(split.labeled) == {NAMES[i] for i in order[:count]}
    assert set(split.unlabeled) == {NAMES[i] for i in order[count:]}
    assert split.seed == seed
    text = "\n".join(sorted(split.labeled)).encode()
    assert split.hash == hashlib.sha256(text).hexdigest()[:12]


def test_full_split_has_every_image_in_both_sets():
    split = splits.draw(NAMES, len(NAMES), 12345)
    assert split.labeled == split.unlabeled == tuple(NAMES)


@given(st.sets(st.text("abc_ö1", min_size=1), min_size=1, max_size=30), st.data())
def test_labeled_and_unlabeled_part_the_names(names, data):
    count = data.draw(st.integers(1, len(names)))
    split = splits.draw(names, count, data.draw(st.integers(0, 2**32 - 1)))
    assert len(split.labeled) == count
    assert set(split.labeled) | set(split.unlabeled) == names
    assert count == len(names) or not set(split.labeled) & set(split.unlabeled)


@pytest.mark.parametrize(("count", "seed"), [(0, 1), (-1, 1), (2976, 1), (5, -1), (5, 2**32)])
def test_draw_refuses_impossible_values(count, seed):
    with pytest.raises(DataError, match="Received"):
        splits.draw(NAMES, count, seed)


def test_draw_refuses_repeated_names():
    with pytest.raises(DataError, match="twice: a"):
        splits.draw(["a", "b", "a"], 1, 0)


@pytest.mark.parametrize("count", [1, 372, 2975])
def test_written_list_reads_back_equal(tmp_path, count):
    path = str(tmp_path / "split.txt")
    split = splits.draw(NAMES, count, 23456)
    splits.write(path, split)
    assert splits.read(path, NAMES) == split
    splits.write(path, split)


def test_list_of_names_with_spaces_reads_back(tmp_path):
    names = ["my image", "my other image.v2", "köln"]
    split = splits.draw(names, 2, 0)
    splits.write(str(tmp_path / "s.txt"), split)
    assert splits.read(str(tmp_path / "s.txt"), names) == split


def test_a_name_is_not_taken_for_the_first_word_of_another(tmp_path):
    names = ["my", "my image"]
    for line, labeled in (
        ("my image.png", ("my image",)),
        ("photos/my image.png", ("my image",)),
        ("photos/my.png masks/my image.png", ("my",)),
    ):
        (tmp_path / "list.txt").write_text(line)
        assert splits.read(str(tmp_path / "list.txt"), names).labeled == labeled


def test_names_that_look_like_comments_read_back(tmp_path):
    names = ["#20", "#21", "a"]
    path = str(tmp_path / "list.txt")
    splits.write(path, splits.draw(names, 3, 0))
    assert splits.read(path, names).labeled == ("#20", "#21", "a")


def test_lists_made_on_windows_are_read(tmp_path):
    (tmp_path / "list.txt").write_bytes("\ufefftrain\\a.png trainannot\\a.png\r\nb\r\n".encode())
    assert splits.read(str(tmp_path / "list.txt"), ["a", "b", "c"]).labeled == ("a", "b")


def test_write_leaves_another_file_alone(tmp_path):
    path = tmp_path / "split.txt"
    path.write_text("mine")
    with pytest.raises(DataError, match="holds something else"):
        splits.write(str(path), splits.draw(NAMES, 3, 0))
    assert path.read_text() == "mine"


def test_a_list_in_utf_16_is_left_alone(tmp_path):
    path = tmp_path / "split.txt"
    path.write_text("mine", encoding="utf-16")
    before = path.read_bytes()
    with pytest.raises(DataError, match="holds something else"):
        splits.write(str(path), splits.draw(NAMES, 3, 0))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "line",
    [
        "{n}",
        "leftImg8bit/train/city/{n}_leftImg8bit.png gtFine/train/city/{n}_gtFine_labelTrainIds.png",
        "leftImg8bit/train/city/{n}_leftImg8bit.png",
        "{n}_leftImg8bit",
        "train/{n}.jpg\tmasks/{n}.png",
        "/images/train/{n}.png\t/segmentation/train/{n}_gtFine.png",
    ],
    ids=["names", "unimatch", "u2pl", "stems", "tabs", "cps"],
)
def test_lists_of_peers_are_read(tmp_path, line):
    chosen = NAMES[5:300:7]
    path = tmp_path / "labeled.txt"
    path.write_text("".join(line.format(n=name) + "\r\n" for name in reversed(chosen)))
    split = splits.read(str(path), NAMES)
    assert split.labeled == tuple(chosen)
    assert set(split.unlabeled) == set(NAMES) - set(chosen)
    assert split.seed is None


def test_absent_names_are_refused(tmp_path):
    path = tmp_path / "labeled.txt"
    path.write_text(f"{NAMES[0]}\nelsewhere_1\nelsewhere_2\n")
    with pytest.raises(DataError, match=r"names 2 images .* elsewhere_1, elsewhere_2\. .*2975"):
        splits.read(str(path), NAMES)


def test_repeated_lines_are_refused(tmp_path):
    path = tmp_path / "labeled.txt"
    path.write_text(f"{NAMES[0]}\n{NAMES[0]}_leftImg8bit.png\n")
    with pytest.raises(DataError, match=f"twice: {NAMES[0]}"):
        splits.read(str(path), NAMES)


def test_empty_and_missing_lists_are_refused(tmp_path):
    path = tmp_path / "labeled.txt"
    with pytest.raises(DataError, match=r"python -m data_tools\.splits"):
        splits.read(str(path), NAMES)
    path.write_text("# nothing\n\n")
    with pytest.raises(DataError, match="names no image"):
        splits.read(str(path), NAMES)


def test_changed_list_is_noticed(tmp_path):
    path = tmp_path / "split.txt"
    splits.write(str(path), splits.draw(NAMES, 3, 0))
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match="was changed"):
        splits.read(str(path), NAMES)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/aachen_000000_000019_leftImg8bit.png", "aachen_000000_000019"),
        ("images/10k/train/0004a4c0-d4dff0ad.jpg", "0004a4c0-d4dff0ad"),
        ("train/0001TP_006690.png", "0001TP_006690"),
        ("Ko\u0308ln.png", "K\u00f6ln"),
    ],
)
def test_record_name(path, name):
    assert splits.record_name(path) == name
