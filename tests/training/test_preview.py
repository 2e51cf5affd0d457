"""The sheet of a method's batches: its views, and its mixes as the train step makes them."""

import numpy as np
import pytest

import tiny_command
import tiny_segmenter
from c3tf.inference import networks
from c3tf.labels import IGNORE
from c3tf.training import preview
from c3tf.visualization import drawing


@pytest.fixture
def sheets(monkeypatch):
    """What is to be laid out: titles, rows and captions."""
    seen = []
    monkeypatch.setattr(drawing, "sheet", lambda rows, titles, captions, *_, **__: seen.append(
        (titles, rows, captions)
    ))  # fmt: skip
    return seen


def drawn(sheets, config, batch, classes=None):
    """The columns by title, those of one title in turn, and their captions."""
    batch = tiny_segmenter.tensors(batch)
    preview.draw([batch], config, tiny_command.LABEL_MAP, len(batch.x), 0, classes)
    ((titles, rows, captions),) = sheets
    pictures, texts = {}, {}
    for place, title in enumerate(titles):
        pictures.setdefault(title, []).append(np.stack([row[place] for row in rows]))
        texts.setdefault(title, []).append([row[place] for row in captions])
    return pictures, texts


@pytest.mark.parametrize(
    ("method", "students", "mixes"),
    [("c3", 1, 4), ("cutmix_mean_teacher", 1, 1), ("unimatch", 2, 2)],
)
def test_every_view_of_a_method_has_a_column(sheets, method, students, mixes):
    config = tiny_segmenter.config(method=method)
    batch = tiny_segmenter.semi_batch(config)
    pictures, _ = drawn(sheets, config, batch)
    assert sum(len(pictures[title]) for title in pictures if "CutMix" in title) == mixes
    views = pictures["unlabeled, student's (strong)"]
    assert len(views) == students
    np.testing.assert_array_equal(views[0], batch.u_s)
    if method == "unimatch":
        np.testing.assert_array_equal(views[1], batch.u_s2)
    labeler = "student" if method == "unimatch" else "teacher"
    np.testing.assert_array_equal(*pictures[f"unlabeled, {labeler}'s (weak)"], batch.u_w)


def test_rectangles_are_those_of_the_step(sheets):
    config = tiny_segmenter.config(method="cutmix_mean_teacher")
    batch = tiny_segmenter.semi_batch(config)
    pictures, texts = drawn(sheets, config, batch)
    expected = tiny_segmenter.segmenter(config).mixed_images(tiny_segmenter.tensors(batch))
    np.testing.assert_array_equal(*pictures["CutMix into unlabeled"], expected)
    assert texts["CutMix into unlabeled"] == [
        [f"rectangle from unlabeled {index}" for index in (1, 0, 3, 2)]
    ]


def test_both_mixes_of_unimatch_are_those_of_the_step_and_say_what_is_not_mixed(sheets):
    config = tiny_segmenter.config(method="unimatch", global_batch_size=16, mix_group=8)
    batch = tiny_segmenter.semi_batch(config)
    pictures, texts = drawn(sheets, config, batch)
    model, own = tiny_segmenter.segmenter(config), tiny_segmenter.tensors(batch)
    masks = model.masks(own, tiny_segmenter.NUM_CLASSES)
    for view, mask, mixed, said in zip(
        (own.u_s, own.u_s2), masks, *(x["CutMix into unlabeled"] for x in (pictures, texts)),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(mixed, model.mix(view, mask))
        unmixed = np.array(["not mixed" in text for text in said])
        np.testing.assert_array_equal(unmixed, (mixed == view.numpy()).all(axis=(1, 2, 3)))
        assert 0 < unmixed.sum() < len(unmixed)


def test_classmix_pastes_half_of_the_classes_as_its_step_does(sheets):
    config = tiny_segmenter.config(method="classmix")
    batch, model = tiny_segmenter.semi_batch(config), tiny_segmenter.segmenter(config)
    pictures, texts = drawn(
        sheets, config, batch, lambda images: networks.class_map(model.teacher, images)
    )
    expected = model.mixed_images(tiny_segmenter.tensors(batch)).numpy()
    np.testing.assert_array_equal(*pictures["ClassMix onto the next"], expected)
    assert texts["ClassMix onto the next"][0][2] == "these classes on unlabeled 3"
    (whole,), (half,) = pictures["teacher's classes"], pictures["half of them"]
    nothing = tiny_command.LABEL_MAP.palette()[IGNORE]
    pasted = (half != nothing).any(axis=-1)
    np.testing.assert_array_equal(half[pasted], whole[pasted])
    np.testing.assert_array_equal(expected[pasted], batch.u_s[pasted])
    for all_of_them, chosen in zip(whole, half, strict=True):
        kinds = [len(np.unique(x.reshape(-1, 3), axis=0)) - 1 for x in (all_of_them, chosen)]
        assert kinds[1] == kinds[0] // 2 > 0
