"""Locks between processes."""

import errno
import os

import pytest

from c3tf.io import locks

pytestmark = pytest.mark.smoke


def test_a_file_is_locked_once_and_stays(tmp_path):
    path = str(tmp_path / "new" / "lock")
    for _ in range(2):
        with locks.trying(path) as first, locks.trying(path) as second:
            assert (first, second) == (True, False)
    assert os.path.exists(path)


def test_a_file_system_without_locks_is_named_and_no_obstacle(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with locks.trying(str(tmp_path / "lock")) as taken:
        assert taken
    assert "lock cannot be locked" in caplog.text
    assert "start only one run there" in caplog.text


def test_what_nfs_holds_is_held(tmp_path, monkeypatch):
    """There a lock needs a file that is open for writing; a folder cannot be."""
    flock = locks.fcntl.flock

    def over_nfs(descriptor, operation):
        if locks.fcntl.fcntl(descriptor, locks.fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(descriptor, operation)

    monkeypatch.setattr(locks.fcntl, "flock", over_nfs)
    path = tmp_path / "table.csv.partial"
    with open(path, "w") as file:
        locks.hold(file.fileno())
        assert locks.is_held(str(path))
    assert not locks.is_held(str(path))
    with locks.holding(str(path)):
        assert locks.is_held(str(path))
    assert not locks.is_held(str(tmp_path))
