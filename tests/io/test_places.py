"""Names from data lead below their folder, or are refused when something is written."""

import os
import random

import pytest

from c3tf.errors import UserError
from c3tf.io import places

pytestmark = pytest.mark.smoke

WRONG = {
    "../x.png": "leads up",
    "a/../../x.png": "leads up",
    "a/..": "leads up",
    "/x.png": "absolute",
    "//x.png": "absolute",
    "a\0.png": "zero byte",
    "": "no file",
    ".": "no file",
    "a/": "no file",
    "./": "no file",
    "x" * 252 + ".png": "longer than 255 bytes",
    "ö" * 126 + ".png": "longer than 255 bytes",
    "link/x.png": "a link leads to",
    "target.png": "a link leads to",
}


@pytest.fixture
def folder(tmp_path):
    """A folder that is reached through a link of the user's, and holds two that lead out."""
    (tmp_path / "real").mkdir()
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "real" / "link").symlink_to(tmp_path)
    (tmp_path / "real" / "target.png").symlink_to(tmp_path / "victim.png")
    return tmp_path / "folder"


@pytest.mark.parametrize("name", WRONG)
def test_a_name_that_leads_elsewhere_is_refused(folder, name):
    with pytest.raises(UserError, match="cannot be used below") as error:
        places.below(folder, name)
    assert WRONG[name] in str(error.value)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("name", ["a.png", "a/b.png", "..a.png", "a..b/c...png", "ö\n.png"])
def test_other_names_keep_their_place(folder, name):
    assert places.below(folder, name) == os.path.join(folder, name)


def test_no_name_of_odd_parts_leads_out(folder):
    draw = random.Random(7)
    parts = ["..", ".", "", "a", "link", "\0", "...", "/", "\\..", "a" * 300]
    for _ in range(2000):
        name = "/".join(draw.choices(parts, k=draw.randint(1, 5)))
        try:
            end = os.path.realpath(places.below(folder, name))
        except UserError:
            continue
        assert end.startswith(str(folder.resolve()) + os.sep), name
