"""The sheet of a method's batches: its views, and its mixes where the batch alone tells them."""

import numpy as np
import pytest

import tiny_command
import tiny_segmenter
from c3tf.training import preview
from c3tf.visualization import drawing


@pytest.fixture
def sheets(monkeypatch):
    """What is to be laid out: titles and rows."""
    seen = []
    monkeypatch.setattr(
        drawing, "sheet", lambda rows, titles, *_, **__: seen.append((titles, rows))
    )
    return seen


@pytest.mark.parametrize(
    ("method", "students", "mixes"),
    [("c3", 1, 4), ("cutmix_mean_teacher", 1, 0), ("classmix", 1, 0), ("unimatch", 2, 0)],
)
def test_every_view_of_a_method_has_a_column(sheets, method, students, mixes):
    config = tiny_segmenter.config(method=method)
    batch = tiny_segmenter.semi_batch(config)
    preview.draw([tiny_segmenter.tensors(batch)], config, tiny_command.LABEL_MAP, 3, 0)
    ((titles, rows),) = sheets
    assert sum("student's" in title for title in titles) == students
    assert sum("CutMix" in title for title in titles) == mixes
    assert len(rows) == 3
    if method == "unimatch":
        first = titles.index("unlabeled, student's (strong)")
        np.testing.assert_array_equal(rows[1][first], batch.u_s[1])
        np.testing.assert_array_equal(rows[1][first + 1], batch.u_s2[1])
