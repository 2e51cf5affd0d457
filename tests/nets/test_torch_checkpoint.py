"""Hostile checkpoints of PyTorch: refused at once, in little memory; nothing of ours changes."""

import io
import pickle
import resource
import struct
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

import memory_peak
from c3tf.io import array_files
from c3tf.nets import pickles, torch_checkpoint
from c3tf.nets.torch_checkpoint import CheckpointError

MAGIC = 0x1950A86A20F9469CFC6C
EMPTY_DICT, EMPTY_TUPLE = b"}", b")"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
FLOATS = b"ctorch\nFloatStorage\n"
ORDERED = b"ccollections\nOrderedDict\n"


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return pickle.dumps(value, 2)[2:-1]


def storage(key="0", count=4, dtype=FLOATS):
    return b"(" + text("storage") + dtype + text(key) + text("cpu") + number(count) + b"tQ"


def tensor(shape=(4,), strides=(1,), offset=0, where=None):
    arguments = (where or storage()) + number(offset) + number(shape) + number(strides)
    return REBUILD + b"(" + arguments + b"tR"


def state(*items):
    """A pickled dictionary of the items, each a name and the bytes that push its value."""
    pairs = b"".join(text(name) + value for name, value in items)
    return b"\x80\x02" + EMPTY_DICT + b"(" + pairs + b"u."


def write_zip(path, data, storages=(("0", bytes(16)),), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        for key, content in storages:
            archive.writestr(f"archive/data/{key}", content)
    return path


def write_legacy(path, data, storages=(("0", bytes(16)),)):
    pieces = [pickle.dumps(one, 2) for one in (MAGIC, 1001, {"little_endian": True})]
    pieces += [data, pickle.dumps([key for key, _ in storages], 2)]
    pieces += [struct.pack("<q", len(content) // 4) + content for _, content in storages]
    path.write_bytes(b"".join(pieces))
    return path


WRITERS = pytest.mark.parametrize("write", [write_zip, write_legacy])


def doubling(first, times=60):
    """Pushes `(x, x)`, sixty times over: 2^60 values in a few hundred bytes."""
    return first + b"".join(b"q%ch%c\x86" % (i, i) for i in range(times))


HOSTILE = {
    "a tuple of 2^60 values": state(("a", doubling(EMPTY_TUPLE))),
    "its hash": b"\x80\x02" + EMPTY_DICT + doubling(EMPTY_TUPLE) + b"Ns.",
    "its text, as a reference": b"\x80\x02" + doubling(EMPTY_TUPLE) + b"Q.",
    "its text, as a storage's key": state(
        ("a", b"(" + text("storage") + FLOATS + doubling(EMPTY_TUPLE) + text("cpu") + b"K\x01tQ")
    ),
    "its text, as a state": b"\x80\x02" + doubling(EMPTY_TUPLE) + b".",
    "its text, as a shape": state(
        ("a", REBUILD + b"(" + storage() + b"K\x00" + doubling(EMPTY_TUPLE) + number((1,)) + b"tR")
    ),
    "its pairs": b"\x80\x02" + ORDERED + doubling(EMPTY_TUPLE) + b"\x85R.",
    # A list of a thousand pairs, made a dictionary a thousand times.
    "its pairs, again and again": b"\x80\x02]q\x00("
    + b"NN\x86q\x01"
    + b"h\x01" * 999
    + b"e"
    + (ORDERED + b"h\x00\x85R") * 1000
    + b".",
    "a shape of numbers of a megabyte": state(
        (
            "a",
            REBUILD
            + b"("
            + storage()
            + b"K\x00("
            + b"\x8b\0\0\x10\0"
            + b"\x7f" * (1 << 20)
            + b"q\x01"
            + b"h\x01" * 31
            + b"t("
            + b"K\x01" * 32
            + b"ttR",
        )
    ),
    "a list in itself": b"\x80\x02]q\x00h\x00a.",
    "a dictionary in itself": b"\x80\x02}q\x00" + text("state_dict") + b"h\x00s.",
    "deep lists": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
    "a memo of 32 GB": state(("a", b"Nr\xff\xff\xff\xff")),
    "bytes of 8 EB": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
    "a bytearray of 8 GB": b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b"x.",
    "a number of 2 GB": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
    "a million operations": b"\x80\x02" + b"N0" * 600_000 + b"N.",
    "keys that collide": b"\x80\x02}("
    + b"".join(number(i * (2**61 - 1)) + b"N" for i in range(1, 100_000))
    + b"u.",
    "a shape of 2^4000": state(("a", tensor((2,) * 30 + (2**4000,), (0,) * 31))),
    "a storage of 2^62": state(("a", tensor(where=storage(count=2**62)))),
    "a tensor that repeats": state(("a", tensor((1 << 40,), (0,)))),
    "a negative offset": state(("a", tensor(offset=-4))),
    "strides of other axes": state(("a", tensor((4,), (1, 1)))),
    "a thousand axes": state(("a", tensor((1,) * 1000, (1,) * 1000))),
    "no storage": state(("a", tensor(where=number(7)))),
    "an object of another class": b"\x80\x02c__main__\nX\n)\x81.",
    "a call of a number": b"\x80\x02K\x07)R.",
    "below its stack": b"\x80\x020000.",
    "below its mark": b"\x80\x02K\x01(0.",
    "an extension": b"\x80\x02\x82\x01.",
}


@pytest.mark.parametrize("write", [write_zip, pytest.param(write_legacy, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_in_little_time_and_memory(tmp_path, write, name):
    path = write(tmp_path / "c.pth", HOSTILE[name])
    began = time.process_time()
    with (
        memory_peak.below(128 << 20),
        pytest.raises(CheckpointError, match=r"c\.pth") as caught,
    ):
        torch_checkpoint.read(path)
    assert time.process_time() - began < 30
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("key", [doubling(EMPTY_TUPLE), b"K\x07", EMPTY_DICT])
def test_storages_are_listed_by_strings(tmp_path, key):
    path = write_legacy(tmp_path / "c.pth", state(("a", tensor())), ())
    listed = pickle.dumps([], 2)
    content = path.read_bytes()
    assert content.endswith(listed)
    path.write_bytes(content.removesuffix(listed) + b"\x80\x02](" + key + b"e.")
    with pytest.raises(CheckpointError, match="lists its storages by what is no string"):
        torch_checkpoint.read(path)


@WRITERS
def test_a_missing_storage_is_named_in_short(tmp_path, write):
    where = storage(key="x" * 10**6)
    path = write(tmp_path / "c.pth", state(("a", tensor(where=where))))
    with pytest.raises(CheckpointError) as caught:
        torch_checkpoint.read(path)
    assert len(str(caught.value)) < 1000


@WRITERS
def test_names_of_a_file_are_shown_on_one_short_line(tmp_path, write):
    path = write(tmp_path / "c.pth", state(("a", b"c\x1b[31mred\n" + b"x" * 10**6 + b"\n")))
    with pytest.raises(CheckpointError) as caught:
        torch_checkpoint.read(path)
    assert len(str(caught.value)) < 1000
    assert "\x1b" not in str(caught.value)


TOUCHED = [REBUILD, b"ctorch._utils\n_rebuild_parameter\n", ORDERED, FLOATS]


@WRITERS
@pytest.mark.parametrize("target", TOUCHED)
@pytest.mark.parametrize("as_slots", [False, True])
def test_a_pickle_cannot_set_attributes_of_ours(tmp_path, write, target, as_slots):
    attributes = EMPTY_DICT + text("marked") + b"K\x01s"
    built = target + (b"N" + attributes + b"\x86" if as_slots else attributes) + b"b"
    path = write(tmp_path / "c.pth", state(("a", tensor()), ("b", built)))
    with pytest.raises(CheckpointError, match="attributes of what is no dictionary"):
        torch_checkpoint.read(path)
    assert not hasattr(np.dtype("<f4"), "marked")
    for known in torch_checkpoint._Known:
        assert not hasattr(known, "marked")


@WRITERS
def test_attributes_of_a_state_dict_are_dropped_and_none_outlives_its_file(tmp_path, write):
    """PyTorch writes `_metadata` so."""
    items = b"(" + text("a") + tensor() + b"u"
    ordered = b"\x80\x02" + ORDERED + b")R" + items + EMPTY_DICT + text("update") + b"Nsb."
    for _ in range(2):
        found = torch_checkpoint.read(write(tmp_path / "c.pth", ordered))
        np.testing.assert_array_equal(found["a"], np.zeros(4, np.float32))


@WRITERS
def test_tensors_that_share_a_storage_are_bounded_by_the_files_bytes(tmp_path, write):
    content = (("0", bytes(1 << 20)),)
    whole = tensor((1 << 18,), (1,), where=storage(count=1 << 18))
    few = write(tmp_path / "few.pth", state(*[(f"t{i}", whole) for i in range(4)]), content)
    assert len(torch_checkpoint.read(few)) == 4
    many = write(tmp_path / "many.pth", state(*[(f"t{i}", whole) for i in range(500)]), content)
    with (
        memory_peak.below(16 << 20),
        pytest.raises(CheckpointError, match="more than 4 times the file's"),
    ):
        torch_checkpoint.read(many)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path):
    path = write_zip(
        tmp_path / "c.pth",
        state(("a", tensor((1 << 26,), where=storage(count=1 << 26)))),
        (("0", bytes(1 << 28)),),
        zipfile.ZIP_DEFLATED,
    )
    with (
        memory_peak.below(16 << 20),
        pytest.raises(CheckpointError, match="stored, not compressed"),
    ):
        torch_checkpoint.read(path)


@WRITERS
def test_storages_that_nothing_uses_are_not_read(tmp_path, write):
    """An optimizer's state takes twice the weights' memory."""
    used, other = tensor(), tensor((1 << 25,), where=storage("1", 1 << 25))
    data = state(("state_dict", state(("a", used))[2:-1]), ("optimizer", b"]" + other + b"a"))
    path = write(tmp_path / "c.pth", data, (("0", bytes(16)), ("1", bytes(1 << 27))))
    # The legacy format does not say where its pickles end.
    most = (1 << 20) + (2 * torch_checkpoint.MOST_PICKLE_BYTES if write is write_legacy else 0)
    with memory_peak.below(most):
        assert list(torch_checkpoint.read(path)) == ["a"]


def test_files_above_the_stated_limits_are_refused(tmp_path, monkeypatch):
    with open(tmp_path / "sparse.pth", "wb") as file:
        file.truncate(array_files.MOST_BYTES + 1)
    with pytest.raises(CheckpointError, match=r"sparse\.pth: it has 4294967297 bytes"):
        torch_checkpoint.read(tmp_path / "sparse.pth")
    monkeypatch.setattr(torch_checkpoint, "MOST_PICKLE_BYTES", 1000)
    long = state(("a", tensor()), ("b", text("x" * 2000)))
    for write in (write_zip, write_legacy):
        with pytest.raises(CheckpointError, match=r"c\.pth"):
            torch_checkpoint.read(write(tmp_path / "c.pth", long))


def test_the_command_refuses_a_file_that_would_loop_for_ever(tmp_path):
    """The command itself: one line, and no more time than it needs to start."""
    path = write_legacy(tmp_path / "c.pth", HOSTILE["its hash"])
    command = [sys.executable, "-m", "data_tools.convert_weights", f"--checkpoint={path}"]
    command += ["--architecture=resnet50", f"--output={tmp_path / 'o.weights.h5'}"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (100, 100)),
    )
    assert done.returncode == 2, done.stderr
    assert "is the key of a dictionary" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("protocol", range(5))
def test_plain_values_come_back_in_every_protocol(protocol):
    value = {
        "a": [1, -1, 2**40, 0.5, True, False, None, "ä", ("x", ("y", "z", 1), ()), [[]], {}],
        1: {"nested": {"b": (1, 2)}},
        None: 2**70,
    }
    stream = io.BytesIO(pickle.dumps(value, protocol) + pickle.dumps([value, value], protocol))
    reader = pickles.Reader(stream, None, None, None)
    assert reader.load() == value
    assert reader.load() == [value, value]
