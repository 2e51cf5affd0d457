"""Video files: frames upright one by one, those that cannot be read told, and written as MP4."""

import math
import os
from collections.abc import Iterator

import cv2
import numpy as np

from c3tf.errors import DataError, StorageError, UserError
from c3tf.io import image_bytes

ENDING = ".mp4"
# MPEG-4 Part 2: what every build of OpenCV writes without a library of the system.
_CODEC = "mp4v"
# Numerator or denominator of a rate in MPEG-4 Part 2.
_LARGEST_RATE = 2**16 - 1
# Frames in a row that are tried in vain before the rest is given up.
_GIVE_UP = 250
_FASTEST = 1000.0
# Formats that store their number of frames; others say how long they last, which may give one more.
_COUNTED = (".avi", ".m4v", ".mov", ".mp4")


class VideoReader:
    """The frames of a video file, as a player shows them.

    Attributes:
        path: the file.
        rate: frames per second, their mean where they last differently long.
        count: frames that the file says it holds; 0 where it does not say.
        lost: frames at the end that the file names and that could not be read.
        rows: of the frames, once there was one.
    """

    def __init__(self, path: str) -> None:
        """Opens a file.

        Raises:
            UserError: there is no such file.
            DataError: it is no video, or says of itself what cannot be.
        """
        self.path, self.lost, self.rows = path, 0, 0
        if not os.path.exists(path):
            raise UserError(f"`--video` must name a video file. There is none at {path}.")
        if not os.path.isfile(path):
            raise UserError(f"`--video` must name a video file. Received: {path}, no regular file")
        with open(path, "rb"):
            pass  # The system says what OpenCV does not: why a file cannot be opened.
        # An absolute path is never taken for an address.
        self._capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise DataError(f"{path} is no video that OpenCV reads, or is cut short.")
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        self.rate = self._capture.get(cv2.CAP_PROP_FPS)
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.count = int(count) if math.isfinite(count) and count > 0 else 0
        if not 0 < self.rate <= _FASTEST:
            raise DataError(
                f"{path} says a frame rate of {self.rate:g} per second, which must be above 0 and "
                f"up to {_FASTEST:g}."
            )
        width, height = (
            self._capture.get(name)
            for name in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if not 0 < width * height <= image_bytes.MAX_PIXELS:
            raise DataError(
                f"{path} has frames of {width:g}x{height:g}, which must have 1 to "
                f"{image_bytes.MAX_PIXELS:,} pixels."
            )

    def frames(self) -> Iterator[np.ndarray | None]:
        """Yields each frame once, in order.

        Yields:
            `(H, W, 3)` uint8 RGB, turned as the file notes; None for a frame that cannot be read
            and has later ones behind it.

        Raises:
            DataError: there is no frame, or one has another size than those before.
        """
        size, tried, lost = None, 0, 0
        # Behind a broken frame others may come; behind the last one nothing does.
        while not lost or (tried < self.count and lost < _GIVE_UP):
            tried += 1
            found, image = self._capture.read()
            if not found:
                lost += 1
                continue
            yield from [None] * lost
            lost = 0
            if size not in (None, image.shape):
                raise DataError(
                    f"Frame {tried} of {self.path} is {image.shape[1]}x{image.shape[0]}, and those "
                    f"before are {size[1]}x{size[0]}: divide the video there."
                )
            size = image.shape
            self.rows = size[0]
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        if size is None:
            raise DataError(f"No frame of {self.path} can be read.")
        missing = self.count - (tried - lost)
        allowed = 0 if self.path.lower().endswith(_COUNTED) else 1
        self.lost = missing if missing > allowed else 0

    def close(self) -> None:
        """Closes the file."""
        self._capture.release()


class VideoWriter:
    """A video that is written frame by frame, all of one size."""

    def __init__(self, path: str, rate: float, name: str) -> None:
        """Writes nothing yet: the first frame says the size.

        Args:
            path: ends in `ENDING`.
            rate: frames per second.
            name: what errors call the file.
        """
        self._path, self._rate, self._name = path, rate, name
        self._writer: cv2.VideoWriter | None = None
        self._last: np.ndarray | None = None
        self._owed = self._written = 0

    def write(self, picture: np.ndarray) -> None:
        """Adds a frame `(H, W, 3)` uint8 RGB; an odd side is continued by one pixel.

        Raises:
            StorageError: the file cannot be made.
        """
        height, width = picture.shape[:2]
        # The codec halves its colours: of an odd side OpenCV would cut the last row or column.
        frame = cv2.copyMakeBorder(
            cv2.cvtColor(picture, cv2.COLOR_RGB2BGR),
            0,
            height % 2,
            0,
            width % 2,
            cv2.BORDER_REPLICATE,
        )
        if self._writer is None:
            codec = cv2.VideoWriter_fourcc(*_CODEC)
            size = frame.shape[1], frame.shape[0]
            path = os.path.abspath(self._path)
            self._writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, codec, _told(self._rate), size)
            if not self._writer.isOpened():
                raise StorageError(
                    f"{self._name} cannot be begun with {size[0]}x{size[1]} pixels at "
                    f"{self._rate:g} frames per second: the disk is full, or the size is beyond "
                    "the codec."
                )
        self._last = frame
        for _ in range(1 + self._owed):
            self._add()
        self._owed = 0

    def repeat(self) -> None:
        """Adds the frame before once more; the first one, once it comes, where there is none."""
        if self._last is None:
            self._owed += 1
        else:
            self._add()

    def close(self) -> None:
        """Ends the file and reads what it says, since OpenCV tells no error of writing.

        Raises:
            StorageError: it is not whole.
        """
        self.abandon()
        written = cv2.VideoCapture(os.path.abspath(self._path), cv2.CAP_FFMPEG)
        held = int(written.get(cv2.CAP_PROP_FRAME_COUNT)) if written.isOpened() else 0
        written.release()
        if held != self._written:
            raise StorageError(
                f"{self._name} could not be written whole, as on a full disk: it holds {held} of "
                f"{self._written} frames."
            )

    def abandon(self) -> None:
        """Closes the file as it is."""
        if self._writer is not None:
            self._writer.release()

    def _add(self) -> None:
        self._writer.write(self._last)
        self._written += 1


def _told(rate: float) -> float:
    """Rounds a rate to what MPEG-4 can state: a fraction of at most 16 bits, OpenCV's decimal."""
    digits = 3
    while digits and round(rate * 10**digits) > _LARGEST_RATE:
        digits -= 1
    return round(rate, digits)
