"""Reading JSON files: one clear error of what is wrong, and values as they were written."""

import os

import pytest

from c3tf.errors import DataError, UserError
from c3tf.io import json_files

pytestmark = pytest.mark.smoke


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "below" / "a.json"
    json_files.write(path, {"name": "Straße", "values": [1, 2.5, None]})
    assert json_files.read(path) == {"name": "Straße", "values": [1, 2.5, None]}
    json_files.write(path, [1])
    assert json_files.read(path, list) == [1]


def test_paths_that_are_no_utf_8_are_written_as_text(tmp_path):
    path, name = tmp_path / "a.json", os.fsdecode(b"caf\xe9")
    json_files.write(path, {"models": [name], name: "a\\udcb\N{GRINNING FACE}"})
    assert json_files.read(path) == {
        "models": [r"caf\udce9"],
        r"caf\udce9": "a\\udcb\N{GRINNING FACE}",
    }


def test_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_files.write(tmp_path / "a.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", r"it is no JSON \(.*line 1"),
        (b"", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "it holds no object"),
        (b"\xff\xfe", "it is no text"),
        (b'{"a": {"b": 1, "b": 2}}', "it holds the entry 'b' twice"),
        (b'{"a": "x\\u0000y"}', r"it holds text that is none: 'x.x00y'"),
    ],
)
def test_damaged_contents_are_the_callers_error(tmp_path, content, reason):
    path = tmp_path / "{name}.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"\{{name\}}\.json cannot be read: {reason}"):
        json_files.read(path)
    text = "{path} is damaged: {reason}. Make it again."
    with pytest.raises(DataError, match=rf"json is damaged: {reason}.*\. Make it again\.$"):
        json_files.read(path, error=DataError, text=text)


def test_another_kind_is_refused(tmp_path):
    json_files.write(tmp_path / "a.json", {})
    with pytest.raises(UserError, match=r"a\.json cannot be read: it holds no list\.$"):
        json_files.read(tmp_path / "a.json", list)


def test_what_cannot_be_opened_is_not_called_damaged(tmp_path):
    for path, said in ((tmp_path / "none.json", "There is no file"), (tmp_path, "directory")):
        with pytest.raises(UserError, match=said) as caught:
            json_files.read(path, error=DataError, text="{path} is damaged: {reason}.")
        assert str(path) in str(caught.value)
        assert not isinstance(caught.value, DataError)
        assert "damaged" not in str(caught.value)
