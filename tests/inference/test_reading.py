"""Reading ahead: groups of one size, bounded memory, and what cannot be read."""

import threading

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

import image_files
import tiny_network
from c3tf.errors import UserError
from c3tf.inference import reading
from c3tf.inference.image_files import Input
from c3tf.io import memory, orientation
from data_tools.conversion import images

pytestmark = pytest.mark.smoke


def write(folder, sizes):
    inputs = []
    for index, size in enumerate(sizes):
        path = folder / f"{index:04d}.png"
        Image.fromarray(tiny_network.noise(index, *size)).save(path)
        inputs.append(Input(path, path.stem))
    return inputs


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_every_image_once_in_batches_of_one_size(tmp_path, batch_size):
    sizes = [(8, 8), (8, 12), (8, 8), (6, 6), (8, 12), (8, 8), (8, 8)]
    inputs = write(tmp_path, sizes)
    found = list(reading.batches(inputs, batch_size))
    for batch in found:
        assert len(batch) <= batch_size
        assert len({loaded.image.shape for loaded in batch}) == 1
    loaded = {one.item.name: one for batch in found for one in batch}
    assert sum(map(len, found)) == len(loaded) == len(inputs)
    for index, item in enumerate(inputs):
        expected = tiny_network.noise(index, *sizes[index])
        np.testing.assert_array_equal(loaded[item.name].image, expected)
        np.testing.assert_array_equal(loaded[item.name].shown, expected)
    assert max(map(len, found)) == batch_size


def test_what_is_in_memory_does_not_grow_with_the_images(tmp_path, monkeypatch):
    """10 000 frames, each of a size of its own as the worst case, stand for one file here."""
    (source,) = write(tmp_path, [(8, 8)])
    lock, counts = threading.Lock(), {"read": 0, "given": 0, "most": 0}

    def load(item, height, exif):
        with lock:
            counts["read"] += 1
            counts["most"] = max(counts["most"], counts["read"] - counts["given"])
            image = np.zeros((1, counts["read"], 3), np.uint8)
        return reading.Loaded(item, image, image)

    monkeypatch.setattr(reading, "_load", load)
    for batch in reading.batches((source for _ in range(10_000)), batch_size=4):
        with lock:
            counts["given"] += len(batch)
    assert counts["given"] == counts["read"] == 10_000
    assert counts["most"] <= 40


def test_what_cannot_be_read_comes_alone_with_a_reason(tmp_path):
    (good,) = write(tmp_path, [(8, 8)])
    content = good.path.read_bytes()
    cases = {
        "cut": (content[:-30], "damaged"),
        "header": (content[:20], "damaged"),
        "text": (b"no image", "no JPEG or PNG"),
        "zero": (b"", "empty"),
        "gif": (b"GIF89a" + bytes(40), "no JPEG or PNG"),
    }
    inputs = [good]
    for name, (data, _) in cases.items():
        (tmp_path / f"{name}.png").write_bytes(data)
        inputs.append(Input(tmp_path / f"{name}.png", name))
    inputs += [Input(tmp_path / "gone.png", "gone"), Input(tmp_path, "folder"), good]
    found = list(reading.batches(inputs, 2))
    problems = {b[0].item.name: b[0].problem for b in found if b[0].problem}
    assert all(len(batch) == 1 for batch in found if batch[0].problem)
    assert sorted(problems) == sorted([*cases, "gone", "folder"])
    for name, (_, reason) in cases.items():
        assert reason in problems[name], (name, problems[name])
    assert [len(batch) for batch in found if not batch[0].problem] == [2]


def test_a_giant_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    (item,) = write(tmp_path, [(40, 40)])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    ((loaded,),) = reading.batches([item], 1)
    assert "too large" in loaded.problem


@pytest.mark.parametrize(("size", "height"), [((48, 64), 24), ((50, 65), 24), ((20, 30), 33)])
def test_the_network_gets_what_a_converter_would_have_stored(tmp_path, size, height):
    (item,) = write(tmp_path, [size])
    ((loaded,),) = reading.batches([item], 1, height)
    with Image.open(item.path) as image:
        expected = images.resize_image(image, images.target_size(str(item.path), size, height))
    assert loaded.image.shape[:2] == size
    assert loaded.shown.shape == expected.shape
    assert np.abs(loaded.shown.astype(int) - expected).max() <= 1
    if size[0] % height == 0:
        np.testing.assert_array_equal(loaded.shown, expected)


def test_sixteen_bits_are_refused_as_the_converter_refuses_them(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(path)
    ((loaded,),) = reading.batches([Input(path, "deep")], 1)
    assert "16-bit" in loaded.problem
    with pytest.raises(UserError, match="16-bit"):
        images.read_image(str(path))


@pytest.mark.parametrize("noted", range(1, 9))
def test_rotations_are_read_as_the_user_says(tmp_path, noted):
    pixels = image_files.noise(6, 10)
    (tmp_path / "x.png").write_bytes(image_files.turned(pixels, "PNG", noted))
    item = Input(tmp_path / "x.png", "x")
    read = {rule: next(reading.batches([item], 1, exif=rule))[0] for rule in orientation.RULES}
    with Image.open(item.path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read["ignore"].image, pixels)
    np.testing.assert_array_equal(read["apply"].image, upright)
    assert read["apply"].shown.shape == upright.shape
    if noted == 1:
        assert read["refuse"].problem is None
    else:
        assert f"(EXIF orientation {noted}). Say --exif=apply" in read["refuse"].problem


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (image_files.encode(image_files.noise(), "JPEG")[:-2], "its end is missing"),
        (image_files.encode(image_files.noise(channels=1).astype("u2"), "PNG"), "16-bit"),
        (image_files.png(b"x\x9c\x03\0\0\0\0\x01", (4, 4)), "cut short: 0 bytes of pixels"),
    ],
)
def test_what_the_converters_refuse_is_refused(tmp_path, encoded, reason):
    (tmp_path / "x.png").write_bytes(encoded)
    ((loaded,),) = reading.batches([Input(tmp_path / "x.png", "x")], 1)
    assert reason in loaded.problem


def test_an_image_that_memory_does_not_hold_is_skipped(tmp_path, monkeypatch):
    (item,) = write(tmp_path, [(40, 40)])
    monkeypatch.setattr(memory, "available", lambda: 1000)
    ((loaded,),) = reading.batches([item], 1)
    assert "too large to predict" in loaded.problem
    assert "--height" in loaded.problem


def test_a_height_that_memory_does_not_hold_is_refused_before_anything_is_resized(
    tmp_path, monkeypatch
):
    (item,) = write(tmp_path, [(40, 40)])
    monkeypatch.setattr(memory, "available", lambda: 2 * 40 * 40 * reading._BYTES_PER_PIXEL)
    monkeypatch.setattr(tf.image, "resize", None)
    ((loaded,),) = reading.batches([item], 1, height=400)
    assert "too large to predict" in loaded.problem


def test_a_lack_of_memory_is_not_called_damage(tmp_path, monkeypatch):
    def exhausted(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    (item,) = write(tmp_path, [(40, 40)])
    monkeypatch.setattr(reading, "resized", exhausted)
    ((loaded,),) = reading.batches([item], 1)
    assert loaded.problem == reading.NO_MEMORY


def test_a_batch_takes_no_more_memory_than_is_left(tmp_path, monkeypatch):
    """Each image fits by itself."""
    inputs = write(tmp_path, [(40, 40)] * 5)
    monkeypatch.setattr(memory, "available", lambda: 2.5 * 40 * 40 * reading._BYTES_PER_PIXEL)
    found = list(reading.batches(inputs, 4))
    assert [len(batch) for batch in found] == [2, 2, 1]
    assert not any(one.problem for batch in found for one in batch)
