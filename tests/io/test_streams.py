"""Standard streams: what cannot or may not be printed ends nothing and reaches no terminal."""

import errno
import os

import pytest

from c3tf.io import streams


def written(text, encoding="utf-8", terminal=False):
    """Returns the bytes that a stream makes of a text."""
    read, write = os.pipe()
    with os.fdopen(read, "rb") as pipe:
        stream = streams.Steadfast(write, encoding)
        print(text, file=stream.for_terminal if terminal else stream, flush=True)
        os.close(write)
        return pipe.read()


def test_letters_that_an_encoding_lacks_are_escaped():
    assert written("道路 ä", "ascii") == rb"\u9053\u8def \xe4" + b"\n"
    assert written("道路") == "道路\n".encode()
    # A file's name that is no text.
    assert written(os.fsdecode(b"a\xff.png")) == rb"a\udcff.png" + b"\n"


def test_control_characters_reach_no_terminal_but_those_of_bars():
    text = "\x1b[2J\x1b]0;owned\x07 a\rb \x9b31m \u202e"
    assert written(text) == rb"\x1b[2J\x1b]0;owned\x07 a\rb \x9b31m \u202e" + b"\n"
    assert written("two\nlines\tand a tab") == b"two\nlines\tand a tab\n"
    assert written("\x1b[1mbar\r", terminal=True) == b"\x1b[1mbar\r\n"
    assert streams.shown("a\nb\x1b c 道路") == r"a\nb\x1b c 道路"


def test_a_full_disk_and_a_closed_pipe_end_nothing():
    full = os.open("/dev/full", os.O_WRONLY)
    read, gone = os.pipe()
    os.close(read)
    for descriptor, number in ((full, errno.ENOSPC), (gone, errno.EPIPE)):
        stream = streams.Steadfast(descriptor)
        assert stream.lost is None
        print("x" * 100_000, file=stream, flush=True)
        print("again", file=stream, flush=True)
        stream.flush()
        assert stream.lost.errno == number
        os.close(descriptor)


def test_a_pipe_that_does_not_wait_gets_everything():
    read, write = os.pipe()
    os.set_blocking(write, False)
    if os.fork() == 0:
        os.close(read)
        print("x" * 1_000_000, file=streams.Steadfast(write), flush=True)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert len(pipe.read()) == 1_000_001
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_stream_is_what_programs_take_it_for(tmp_path, encoding):
    with open(tmp_path / "log", "ab") as file:
        file.write(b"before\n")
        file.flush()
        stream = streams.Steadfast(file.fileno(), encoding)
        assert (stream.fileno(), stream.isatty(), stream.encoding) == (
            file.fileno(),
            False,
            encoding,
        )
        stream.writelines(["a\n", "b\n"])
        stream.flush()
    assert (tmp_path / "log").read_bytes() == b"before\na\nb\n"
