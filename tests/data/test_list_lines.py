"""Lines of lists: names, paths and pairs in every spelling, and second images that are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c3tf.data import list_lines, splits
from c3tf.errors import DataError

NAMES = ("a", "b", "c", "my image", "my other image", "seq1__0001", "seq2__0001", "0002")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("a", "a"),
        ("a.jpg", "a"),
        ("photos/a.JPG", "a"),
        ("photos\\a.png", "a"),
        ("a.jpg a.png", "a"),
        ("a.jpg\tmasks/a_label.png", "a"),
        ("a.jpg 0.75", "a"),
        ('"a.jpg"', "a"),
        ("'photos/my image.jpg' 'masks/my image.png'", "my image"),
        ("my image", "my image"),
        ("photos/my image.jpg", "my image"),
        ("photos/my image.jpg masks/my image.png", "my image"),
        ("my image.jpg\tmy image.png", "my image"),
        ("seq1/0001.png", "seq1__0001"),
        ("leftImg8bit/train/seq2/0001_leftImg8bit.png gt/seq2/0001_gt.png", "seq2__0001"),
        ("photos/0002.png", "0002"),
        ("seq3/0001.png", None),
        ("0001.png", None),
        ("z.jpg a.jpg", None),
        ("photos/z.jpg photos/a.jpg", None),
        ("a.jpg,b.jpg", None),
        ("photos/a.jpg,masks/a.png", "a"),
        ("C:\\photos\\a.jpg", "a"),
        ("A.jpg", None),
        # Copies and further frames are other images; what follows a name may be its label.
        ("a (1).jpg", None),
        ("photos/a - Copy.jpg", None),
        ("a 2.jpg", None),
        ("a.1", None),
        ("a.1.jpg", None),
        ("photos/0002.5", None),
        ("a a_mask.png", "a"),
        ("a masks/2.png", "a"),
        ("seq1/0001 gt_0001.png", "seq1__0001"),
    ],
)
def test_a_line_means_one_image(line, name):
    assert list_lines.Parser(NAMES).name(line) == name


@pytest.mark.parametrize(
    "line",
    [
        "a.jpg b.jpg c.jpg",
        "a b c",
        "a.jpg\tb.jpg",
        "photos/a.jpg photos/b.jpg",
        "a.jpg a.png b.jpg",
        '"a.jpg" "b.jpg"',
        "my image.jpg my other image.jpg",
        "'my image.jpg' 'my other image.jpg'",
        "seq1/0001.png seq2/0001.png",
        "a.jpg labels/b.png",
        "photos/a.jpg,photos/b.jpg",
        "photos/a.jpg;photos/b.jpg",
        "a.jpg:photos/b.jpg",
        "photos/a.jpg|photos/b.jpg",
        '"photos/a.jpg","photos/b.jpg"',
        "photos/a.jpg\u3000photos/b.jpg",
    ],
)
def test_a_second_image_on_a_line_is_refused(tmp_path, line):
    with pytest.raises(ValueError, match="names"):
        list_lines.Parser(NAMES).name(line)
    (tmp_path / "list.txt").write_text(f"0002\n{line}\n")
    with pytest.raises(DataError, match=r"list\.txt has 1 lines with several images: .* names "):
        splits.read(str(tmp_path / "list.txt"), NAMES)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_lists_are_read_in_the_encodings_of_editors(tmp_path, encoding, ends):
    path = tmp_path / "list.txt"
    path.write_bytes(ends.join(["# mine", "köln.jpg köln.png", "", "b.jpg "]).encode(encoding))
    assert splits.read(str(path), ["köln", "b", "c"]).labeled == ("b", "köln")


@pytest.mark.parametrize(
    "line",
    [
        '"imgs/photo (1).jpg" "masks/photo (1).png"',
        "imgs/photo (1).jpg\tmasks/photo (1).png",
        "imgs/photo (1).jpg masks/photo (1).png",
        "imgs/photo (1).jpg masks/photo (1)_mask.png",
        "photo (1).jpg\tphoto (1)_mask.png",
    ],
)
def test_a_copy_beside_its_original_has_a_label_of_its_own(line):
    parser = list_lines.Parser(["photo", "photo (1)", "photo (2)"])
    assert parser.name(line) == "photo (1)"
    for other in ("photo", "photo (2)"):
        with pytest.raises(ValueError, match="names 'photo"):
            parser.name(f"{other}.jpg\t{line.split()[0].strip(chr(34))} (1).jpg")


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xd8\xff\xe0 a photograph")
    with pytest.raises(DataError, match=r"list\.txt is no text list.*UTF-8"):
        splits.read(str(tmp_path / "list.txt"), NAMES)


def test_suffixes_of_images_are_known_to_lists(tmp_path):
    (tmp_path / "list.txt").write_text("rgb/a_rgb.png gt/a_gt.png\nb_rgb.png\nc\n")
    assert splits.read(str(tmp_path / "list.txt"), NAMES, "_rgb").labeled == ("a", "b", "c")


WORDS = ("a", "b", "c.jpg", "x/a.png", "z", "z.png", "#", "'b'")


@given(st.lists(st.sampled_from(WORDS), min_size=1), st.sampled_from([" ", "\t", "  "]))
def test_no_image_of_a_line_is_passed_over(words, space):
    """Every image that a line names alone is the one it means, or the line is refused."""
    parser = list_lines.Parser(NAMES)
    named = {parser.name(word) for word in words} - {None}
    try:
        found = parser.name(space.join(words).strip())
    except ValueError:
        assert len(named) > 1
        return
    assert found is None or named == {found}


@pytest.mark.parametrize("name", ["a\nb", "a\rb", " a", "#a", "a\u2028b", "caf\udce9", "a\tb"])
def test_names_that_no_line_can_hold(name):
    assert not list_lines.is_line(f"{name}.jpg")


@pytest.mark.parametrize("name", ["street/köln 1, left.jpg", "1.23\u202fPM.png", "\u200d.jpg"])
def test_names_that_a_line_holds(tmp_path, name):
    (tmp_path / "list.txt").write_text(f"{name}\n", encoding="utf-8")
    assert list_lines.is_line(name)
    assert list_lines.read(str(tmp_path / "list.txt")) == [name]
