"""The label-map file: what it means, and what is said about mistakes in it."""

import copy
import json

import pytest

from c3tf.labels import LabelMap, LabelMapError
from data_tools.conversion import label_map_file
from raw_trees import LABEL_MAP_JSON

pytestmark = pytest.mark.smoke


@pytest.fixture
def write(tmp_path):
    def write(data):
        path = tmp_path / "classes.json"
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return str(path)

    return write


def test_classes_get_train_ids_in_the_order_of_the_file(write):
    read = label_map_file.read(write(LABEL_MAP_JSON))
    assert read.label_map == LabelMap(
        name="yard",
        class_names=("lawn", "path", "shed"),
        colors=((16, 192, 32), (200, 180, 20), (120, 30, 30)),
        raw_ids=(4, 2, 9),
        ignored_raw_ids=(0, 255),
    )
    assert read.ignored_colors == ((0, 0, 0),)


def test_name_and_ignore_may_be_absent(write):
    read = label_map_file.read(write({"classes": LABEL_MAP_JSON["classes"]}))
    assert read.label_map.name == "classes"
    assert read.label_map.ignored_raw_ids == read.ignored_colors == ()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("classes", 1, "id"), 256, r"an id of class 'path' must be .* 0 to 255\. Received: 256"),
        (("classes", 1, "id"), "2", r"an id of class 'path' .*Received: '2'"),
        (("classes", 1, "id"), True, "Received: True"),
        (("classes", 1, "id"), 4, "id 4 is given twice"),
        (("classes", 1, "id"), 0, "id 0 is given twice"),
        (("classes", 1, "name"), "lawn", "class name 'lawn' is given twice"),
        (("classes", 1, "name"), "", '"name" of class 1 must be printable'),
        (("classes", 1, "color"), "green", r"a colour of class 'path' .*'green'"),
        (("classes", 1, "color"), [1, 2], r"a colour of class 'path' .*\[1, 2\]"),
        (("classes", 1, "color"), [1, 2, 300], r"Received: \[1, 2, 300\]"),
        (("classes", 1, "color"), "#000000", "colour '#000000' is given twice"),
        (("classes", 1, "colour"), "#111111", 'class 1 has an unknown entry "colour"'),
        (("classes", 1), "path", r"class 1 must be an object .*'path'"),
        (("classes",), {}, '"classes" must be a list'),
        (("classes",), [], "1 to 254 names"),
        (("ignore",), [0], '"ignore" must be an object'),
        (("ignore", "id"), [0], 'unknown entry "id"'),
        (("name",), 3, '"name" must be printable text'),
    ],
)
def test_mistakes_are_named(write, path, value, message):
    data = copy.deepcopy(LABEL_MAP_JSON)
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(LabelMapError, match=rf"classes\.json: .*{message}"):
        label_map_file.read(write(data))


@pytest.mark.parametrize("key", ["name", "id", "color"])
def test_missing_entries_are_named(write, key):
    data = copy.deepcopy(LABEL_MAP_JSON)
    del data["classes"][2][key]
    with pytest.raises(LabelMapError, match=f'class 2 lacks "{key}"'):
        label_map_file.read(write(data))


def test_files_that_are_no_json_are_refused(write, tmp_path):
    with pytest.raises(LabelMapError, match=r"classes\.json: it is no JSON .*line 1"):
        label_map_file.read(write("{names: []}"))
    (tmp_path / "classes.json").write_bytes(b"\xff\xfe")
    with pytest.raises(LabelMapError, match=r"classes\.json: it is no text"):
        label_map_file.read(str(tmp_path / "classes.json"))
    with pytest.raises(LabelMapError, match=r"--label_map=nowhere\.json cannot be read"):
        label_map_file.read("nowhere.json")


def test_an_entry_that_is_given_twice_is_refused(tmp_path):
    path = tmp_path / "map.json"
    for text, said in (
        ('{"name": "a", "name": "b", "classes": []}', "it holds the entry 'name' twice"),
        ("[" * 100_000, "it is no JSON"),
    ):
        path.write_text(text)
        with pytest.raises(LabelMapError, match=rf"map\.json: {said}"):
            label_map_file.read(str(path))


def test_the_mark_of_windows_is_read_over(tmp_path):
    path = tmp_path / "yard.json"
    path.write_text(json.dumps(LABEL_MAP_JSON), encoding="utf-8-sig")
    assert label_map_file.read(str(path)).label_map.class_names[0] == "lawn"
