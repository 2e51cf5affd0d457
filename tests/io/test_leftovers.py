"""What killed writers leave: told from what living ones are writing, put back or deleted."""

import os
import shutil

import pytest

from c3tf.errors import UserError
from c3tf.io import exchange, files, leftovers, locks, writable

pytestmark = pytest.mark.smoke

HEX = "0123456789abcdef" * 2


def folder_of(path, text):
    path.mkdir()
    (path / "inside").write_text(text)


class Killed(BaseException):
    """Stands for a SIGKILL: nothing may be tidied up after it."""


@pytest.fixture
def killed_at(monkeypatch):
    """Ends the writer at the n-th rename, exchange or deletion, without any tidying."""

    def arm(count, can_exchange):
        calls = 0

        def counted(function, module, name):
            def call(*arguments, **options):
                nonlocal calls
                calls += 1
                if calls > count:
                    raise Killed
                return function(*arguments, **options)

            monkeypatch.setattr(module, name, call)

        if not can_exchange:
            monkeypatch.setattr(files, "exchange", lambda one, other: False)
        else:
            counted(exchange.exchange, files, "exchange")
        counted(os.rename, os, "rename")
        counted(os.replace, os, "replace")
        counted(shutil.rmtree, shutil, "rmtree")

    return arm


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize("count", range(5))
def test_a_folder_is_there_whole_or_findable_wherever_its_writer_is_killed(
    tmp_path, killed_at, monkeypatch, count, can_exchange
):
    path = tmp_path / "model"
    folder_of(path, "old")
    killed_at(count, can_exchange)
    try:
        with files.replacing(path) as beside:
            folder_of(tmp_path / os.path.basename(beside), "new")
        finished = True
    except Killed:
        finished = False
    monkeypatch.undo()
    if can_exchange:
        assert (path / "inside").read_text() in ("old", "new"), "there at every moment"
    elif not path.exists():
        assert leftovers.earlier(path)
    assert leftovers.clear(path)
    assert (path / "inside").read_text() == "new" if finished else ("old", "new")
    assert os.listdir(tmp_path) == ["model"]
    assert leftovers.earlier(path) is None


def test_only_what_belongs_to_the_output_is_touched(tmp_path):
    names = [
        f".partial-{HEX}-other.json",
        f".partial-{HEX}-a.json.x",
        f".other.json.earlier-{HEX}",
        ".partial-a.json",
        "a.json",
    ]
    for name in [*names, f".partial-{HEX}-a.json"]:
        (tmp_path / name).write_text("")
    writable.check_file(str(tmp_path / "a.json"))
    assert sorted(os.listdir(tmp_path)) == sorted(names)


def test_a_living_writer_keeps_what_it_has_begun(tmp_path):
    path = tmp_path / "a.json"
    with files.whole(path) as file:
        assert not leftovers.clear(path)
        leftovers.sweep(tmp_path)
        assert len(os.listdir(tmp_path)) == 1
        file.write(b"whole")
    assert path.read_bytes() == b"whole"
    assert leftovers.clear(path)


def test_unfinished_files_below_a_folder_are_deleted(tmp_path):
    (tmp_path / "a" / f".partial-{HEX}-model").mkdir(parents=True)
    (tmp_path / "a" / f".partial-{HEX}-model" / "part").write_text("")
    (tmp_path / "a" / f".partial-{HEX}-x.png").write_text("")
    (tmp_path / "a" / ".hidden").write_text("")
    leftovers.sweep(tmp_path)
    assert os.listdir(tmp_path / "a") == [".hidden"]


@pytest.mark.parametrize("is_taken", [False, True])
def test_an_earlier_folder_anywhere_below_goes_back_where_its_place_is_empty(tmp_path, is_taken):
    folder_of(tmp_path / f".model.earlier-{HEX}", "old")
    folder_of(tmp_path / f".partial-{HEX}-model", "half")
    if is_taken:
        folder_of(tmp_path / "model", "new")
    leftovers.sweep(tmp_path.parent)
    assert os.listdir(tmp_path) == ["model"]
    assert (tmp_path / "model" / "inside").read_text() == ("new" if is_taken else "old")


def test_a_folder_is_one_process_s_at_a_time(tmp_path):
    busy = UserError("in use")
    with locks.alone(tmp_path, busy, "take care"):
        assert locks.is_held(str(tmp_path))
        with pytest.raises(UserError, match="in use"), locks.alone(tmp_path, busy, "take care"):
            pass
    assert not locks.is_held(str(tmp_path))


@pytest.mark.parametrize("name", ["x" * 251 + ".png", "ö" * 125 + ".png"])
def test_a_file_may_have_the_longest_name_there_is(tmp_path, name):
    with files.whole(tmp_path / name) as file:
        (beside,) = os.listdir(tmp_path)
        assert beside.endswith(".png")
        file.write(b"1")
    assert os.listdir(tmp_path) == [name]
    (tmp_path / leftovers.partial_name(name)).write_text("")
    assert leftovers.clear(tmp_path / name)
    assert os.listdir(tmp_path) == [name]
