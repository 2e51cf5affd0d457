"""Videos predicted: frames, rate and rotation kept, broken frames named, whole or not at all."""

import struct

import cv2
import numpy as np
import pytest
import tensorflow as tf

from c3tf.errors import DataError, StorageError, UserError
from c3tf.inference import video
from c3tf.inference.model import InferenceModel
from c3tf.inference.video_files import VideoReader, VideoWriter
from c3tf.inference.video_options import VideoOptions
from c3tf.io import leftovers
from c3tf.visualization import drawing
from tiny_network import LABEL_MAP

HEIGHT, WIDTH, COUNT = 48, 80, 12


def picture(index):
    """Draws a bright square that moves to the right, in the upper half."""
    image = np.full((HEIGHT, WIDTH, 3), (20, 60, 90), np.uint8)
    image[4:28, 4 * index : 4 * index + 24] = (250, 200, 30)
    return image


def write(path, codec="mp4v", rate=12.5, count=COUNT, draw=picture):
    size = draw(0).shape[1::-1]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), rate, size)
    for index in range(count):
        writer.write(cv2.cvtColor(draw(index), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def frames(path):
    reader = VideoReader(str(path))
    return list(reader.frames())


class Model:
    """A model that calls bright pixels class 1, and remembers what it was shown."""

    def __init__(self, fail_at=None):
        self.shown, self._fail_at = [], fail_at

    def predict(self, images, size):
        self.shown.append(tuple(images.shape))
        if len(self.shown) == self._fail_at:
            raise KeyboardInterrupt
        bright = tf.cast(images[..., 0] > 128, tf.uint8)[..., None]
        return tf.image.resize(bright, size, method="nearest")[..., 0]

    def __call__(self):
        return InferenceModel(self.predict, None, LABEL_MAP, {})


def predict(source, output, model=None, **options):
    return video.predict_video(model or Model(), str(source), str(output), VideoOptions(**options))


def distance(one, other):
    """How far two pictures lie apart; the codec loses some of it."""
    assert one.shape == other.shape
    return np.abs(one.astype(int) - other).mean()


def position(image, drawn):
    """Which of some pictures a frame shows."""
    apart = [distance(image, other) for other in drawn]
    assert min(apart) < 6
    return int(np.argmin(apart))


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "drive.mp4")


@pytest.mark.parametrize(
    ("rate", "written"), [(66.667, 66.67), (119.643, 119.64), (700.125, 700.1), (29.97, 29.97)]
)
def test_any_rate_is_written_as_exactly_as_the_codec_can(tmp_path, rate, written):
    source = write(tmp_path / "fast.avi", "MJPG", rate)
    assert VideoReader(str(source)).rate == pytest.approx(rate, abs=1e-4)
    output = tmp_path / "out.mp4"
    assert predict(source, output).frames == COUNT
    assert VideoReader(str(output)).rate == pytest.approx(written, abs=1e-6)


@pytest.mark.parametrize(("show", "batch_size"), [("over", 1), ("beside", 5)])
def test_every_frame_in_order_at_the_rate_of_the_video(source, tmp_path, show, batch_size):
    model, output = Model(), tmp_path / "new/out.mp4"
    summary = predict(source, output, model, show=show, opacity=0.75, batch_size=batch_size)
    assert (summary.frames, summary.broken, summary.lost) == (COUNT, 0, 0)
    assert summary.complaints() == []
    assert [shape[0] for shape in model.shown] == ([1] * 12 if batch_size == 1 else [5, 5, 2])
    assert VideoReader(str(output)).rate == 12.5
    written = frames(output)
    assert len(written) == COUNT
    wanted = []
    for plain in map(picture, range(COUNT)):
        class_map = (plain[..., 0] > 128).astype(np.uint8)
        over = drawing.overlay(plain, class_map, LABEL_MAP, 0.75)
        wanted.append(np.concatenate([plain, over], axis=1) if show == "beside" else over)
    assert [position(image, wanted) for image in written] == list(range(COUNT))
    assert [path.name for path in output.parent.iterdir()] == ["out.mp4"]


def test_a_rotation_is_applied_as_players_do(source, tmp_path):
    data = bytearray(source.read_bytes())
    matrix = data.find(b"tkhd") + 44
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    (tmp_path / "phone.mp4").write_bytes(data)
    predict(tmp_path / "phone.mp4", tmp_path / "out.mp4", opacity=0.0)
    first = frames(tmp_path / "out.mp4")[0]
    assert distance(first, np.rot90(picture(0), -1)) < 6 < distance(first, np.rot90(picture(0)))


def test_a_smaller_frame_for_the_network_and_odd_sides(source, tmp_path):
    model = Model()
    predict(source, tmp_path / "out.mp4", model, height=20)
    assert set(model.shown) == {(1, 20, 33, 3)}
    writer = VideoWriter(str(tmp_path / "odd.mp4"), 25.0, "odd.mp4")
    odd = picture(0)[:27, :23]
    writer.write(odd)
    writer.close()
    (written,) = frames(tmp_path / "odd.mp4")
    assert distance(written, np.pad(odd, [(0, 1), (0, 1), (0, 0)], "edge")) < 6


def damaged(path, place):
    """Empties a frame, counted from 0, of an AVI of JPEGs."""
    data = bytearray(path.read_bytes())
    at = data.index(b"movi")
    for _ in range(place + 1):
        at = data.index(b"00dc", at + 4)
    (length,) = struct.unpack_from("<I", data, at + 4)
    data[at + 8 : at + 8 + length] = bytes(length)
    path.write_bytes(data)


@pytest.mark.parametrize("broken", [(4,), (0, 1, 6), (COUNT - 1,)])
def test_broken_frames_are_named_and_show_the_one_before(tmp_path, broken):
    source = write(tmp_path / "drive.avi", "MJPG")
    for place in broken:
        damaged(source, place)
    summary = predict(source, tmp_path / "out.mp4", opacity=0.0, batch_size=2)
    inside = [place for place in broken if place < COUNT - 1]
    assert summary.first_broken == tuple(place + 1 for place in inside)
    assert summary.lost == len(broken) - len(inside)
    assert summary.frames == COUNT - len(broken)
    text = "\n".join(summary.complaints())
    for place in inside:
        assert f"frame {place + 1} (at {place / 12.5:.2f} s) cannot be read" in text
    if summary.lost:
        assert "ends after frame 11: the last 1 of the frames" in text
    written = frames(tmp_path / "out.mp4")
    assert len(written) == COUNT - summary.lost
    shown = {place: max(0, place - 1) for place in inside}
    if 0 in inside:
        shown |= {0: 2, 1: 2}
    drawn = list(map(picture, range(COUNT)))
    wanted = [shown.get(index, index) for index in range(len(written))]
    assert [position(image, drawn) for image in written] == wanted


def test_a_video_that_was_cut_is_predicted_as_far_as_it_goes(tmp_path):
    source = write(tmp_path / "cut.avi", "MJPG", count=40)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2])
    summary = predict(source, tmp_path / "out.mp4")
    assert 5 < summary.frames < 30
    assert summary.frames + summary.lost == 40
    assert len(frames(tmp_path / "out.mp4")) == summary.frames


@pytest.mark.parametrize("earlier", [False, True])
def test_stopped_it_leaves_nothing_and_keeps_what_was_there(source, tmp_path, earlier):
    output = tmp_path / "results/out.mp4"
    output.parent.mkdir()
    if earlier:
        output.write_bytes(b"mine")
    with pytest.raises(KeyboardInterrupt):
        predict(source, output, Model(fail_at=5), overwrite=True)
    assert [path.name for path in output.parent.iterdir()] == ["out.mp4"] * earlier
    assert not earlier or output.read_bytes() == b"mine"


def test_a_killed_ones_file_is_tidied_up_and_a_living_ones_is_not(source, tmp_path):
    output = tmp_path / "results/out.mp4"
    output.parent.mkdir()
    killed = output.parent / leftovers.partial_name(str(output))
    killed.write_bytes(b"half")

    class Other(Model):
        def predict(self, images, size):
            if len(self.shown) == 3:
                assert not leftovers.clear(output)
            return super().predict(images, size)

    predict(source, output, Other())
    assert [path.name for path in output.parent.iterdir()] == ["out.mp4"]
    assert len(frames(output)) == COUNT


def test_what_cannot_be_used_is_refused_before_the_model_is_opened(source, tmp_path):
    def never():
        raise AssertionError

    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "there.mp4").write_bytes(b"mine")
    out = tmp_path / "out.mp4"
    for given, output, said in (
        (tmp_path / "absent.mp4", out, r"`--video` must name a video file"),
        (tmp_path, out, "no regular file"),
        (tmp_path / "text.mp4", out, r"text\.mp4 is no video that OpenCV reads"),
        (source, tmp_path / "out", r"`--output` must end in \.mp4"),
        (source, tmp_path / "there.mp4", "exists"),
    ):
        with pytest.raises(UserError, match=said):
            predict(given, output, never)
    with pytest.raises(UserError, match="is the video itself"):
        predict(source, source, never, overwrite=True)
    assert not out.exists()
    for options in ({"show": "under"}, {"opacity": 2}, {"batch_size": 0}, {"height": -1}):
        with pytest.raises(UserError, match=f"`--{next(iter(options))}`"):
            VideoOptions(**options)


def test_no_more_frames_are_read_than_wait(tmp_path, monkeypatch):
    source = write(tmp_path / "long.avi", "MJPG", count=60, draw=lambda index: picture(index % 12))
    read, most = [], []
    frames_of = VideoReader.frames

    def counted(reader):
        for frame in frames_of(reader):
            read.append(1)
            yield frame

    class Slow(VideoWriter):
        def write(self, image):
            super().write(image)
            most.append(len(read) - len(most))

    monkeypatch.setattr(VideoReader, "frames", counted)
    monkeypatch.setattr(video, "VideoWriter", Slow)
    predict(source, tmp_path / "out.mp4", batch_size=2)
    assert len(most) == 60
    # Two batches read, one in the network, three to write, and the frame that begins the next.
    assert max(most) <= 13


def test_a_video_that_was_not_written_whole_is_refused(tmp_path, monkeypatch):
    writer = VideoWriter(str(tmp_path / "out.mp4"), 25.0, "mine.mp4")
    for index in range(5):
        writer.write(picture(index))
    # A full disk: OpenCV says nothing.
    monkeypatch.setattr(writer, "_written", 6)
    with pytest.raises(StorageError, match=r"mine\.mp4 could not be written whole.* 5 of 6"):
        writer.close()
    with pytest.raises(StorageError, match=r"mine\.mp4 cannot be begun"):
        VideoWriter(str(tmp_path / "absent/out.mp4"), 25.0, "mine.mp4").write(picture(0))


def test_frames_that_memory_does_not_hold_are_refused(source, tmp_path, monkeypatch):
    monkeypatch.setattr("c3tf.io.memory.available", lambda: 1e5)
    with pytest.raises(DataError, match=r"drive\.mp4: too large to predict"):
        predict(source, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()
