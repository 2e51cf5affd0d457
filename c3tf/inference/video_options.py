"""How videos are predicted, and the flags that say so; no TensorFlow."""

import dataclasses

from absl import flags

from c3tf.errors import UserError
from c3tf.inference import test_time_flags
from c3tf.inference.options import InferenceOptions, check_batches

OVER, BESIDE = "over", "beside"
SHOW = (OVER, BESIDE)
# Flags of image files, which say nothing of a video.
_OF_FILES = ("images", "format", "pseudo_as", "exif", "resume")


@dataclasses.dataclass(frozen=True)
class VideoOptions:
    """How a video is predicted.

    Attributes:
        show: `"over"` draws the classes over the picture, `"beside"` the picture beside that too.
        opacity: share of colour.
        batch_size: frames at once.
        height: height that the network sees frames at; 0 keeps their own.
        inference: what is done with a frame.
        overwrite: replaces a file.
    """

    show: str = OVER
    opacity: float = 0.5
    batch_size: int = 1
    height: int = 0
    inference: InferenceOptions = dataclasses.field(default_factory=InferenceOptions)
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.show not in SHOW:
            raise UserError(f"`--show` must be {' or '.join(SHOW)}. Received: --show={self.show}")
        if not 0 <= self.opacity <= 1:
            raise UserError(f"`--opacity` must be 0 to 1. Received: --opacity={self.opacity}")
        check_batches(self.batch_size, self.height)


def define() -> None:
    """Defines the flags that only videos have."""
    flags.DEFINE_string(
        "video", None, "A video file instead of images; --output is then an .mp4 file to write."
    )
    flags.DEFINE_enum(
        "show", OVER, SHOW, "Of a video: classes over the picture, or the picture beside that too."
    )


def read() -> VideoOptions | None:
    """Reads the flags; None where no video is given.

    Raises:
        UserError: a flag does not go with images, or not with a video.
    """
    values = flags.FLAGS
    if values.video is None:
        if values["show"].present:
            raise UserError("`--show` needs `--video`.")
        return None
    for name in _OF_FILES:
        if values[name].present:
            raise UserError(
                f"`--{name}` is for image files and does not go with `--video`: a video is written "
                "upright, with classes drawn in, whole or not at all."
            )
    return VideoOptions(
        show=values.show,
        opacity=values.opacity,
        batch_size=values.batch_size,
        height=values.height,
        inference=test_time_flags.read(),
        overwrite=values.overwrite,
    )
