"""What may be chosen when networks are used: which, how, and what is written; no TensorFlow."""

import dataclasses
import numbers
import operator
from collections.abc import Callable, Sequence
from typing import Any

from c3tf.errors import UserError
from c3tf.io import orientation

# The networks of a run.
WEIGHTS = ("student", "teacher")

TRAIN_IDS, LABEL_IDS, COLOR, OVERLAY = "train_ids", "label_ids", "color", "overlay"
PROBABILITIES, CONFIDENCE = "probabilities", "confidence"
UNCERTAINTY, PSEUDO_LABELS = "uncertainty", "pseudo_labels"
FORMATS = (
    TRAIN_IDS, LABEL_IDS, COLOR, OVERLAY, PROBABILITIES, CONFIDENCE, UNCERTAINTY, PSEUDO_LABELS,
)  # fmt: skip
DEFAULT_FORMATS = (TRAIN_IDS, COLOR, OVERLAY)
# How pseudo-labels are written: as PNG of ids, or as polygons for an editor.
LABELME = "labelme"
PSEUDO_AS = (TRAIN_IDS, LABEL_IDS, LABELME)

# How logits become class maps; stated in results and model cards.
RESIZE = (
    "logits: image continued to a multiple of the stride, bilinear by the stride with half-pixel "
    "centres, cut to the image, then bilinear to the size asked for where that differs; with "
    "aligned corners or a rounded-up grid bilinear to that size at once"
)

WHOLE, SLIDING = "whole", "sliding"
MODES = (WHOLE, SLIDING)
# What is common; a scale beyond it is a slip of the pen.
_MAX_SCALE = 4.0


@dataclasses.dataclass(frozen=True)
class InferenceOptions:
    """What is done with an image; the averages are of softmax probabilities.

    Attributes:
        mode: `"whole"` shows the network the image at once, `"sliding"` window by window.
        window: height and width of a window in pixels of the (scaled) image, for `"sliding"`.
        overlap: share of a window that the next one repeats, 0 to below 1, for `"sliding"`.
        tta_flip: adds the mirrored image.
        tta_scales: factors of the image's size.
    """

    mode: str = WHOLE
    window: tuple[int, int] | None = None
    overlap: float | None = None
    tta_flip: bool = False
    tta_scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        # Plain tuples, since compiled functions are kept by these options.
        _become_tuple(self, "window", operator.index, "two whole numbers, such as (512, 1024)")
        _become_tuple(self, "tta_scales", float, "numbers, such as (0.75, 1.0)")
        if self.mode not in MODES:
            raise UserError(
                f"`--inference` must be {' or '.join(MODES)}. Received: --inference={self.mode}"
            )
        if self.mode == WHOLE:
            for name in ("window", "overlap"):
                if getattr(self, name) is not None:
                    raise UserError(f"`--{name}` needs --inference={SLIDING}.")
        elif self.window is None or len(self.window) != 2 or min(self.window) < 1:
            raise UserError(
                f"--inference={SLIDING} needs `--window` as height x width in pixels, such as "
                f"--window=512x1024. Received: --window={self.window}"
            )
        elif self.overlap is None or not 0 <= self.overlap < 1:
            raise UserError(
                f"--inference={SLIDING} needs `--overlap` as a share from 0 to below 1, such as "
                f"--overlap=0.5. Received: --overlap={self.overlap}"
            )
        wrong = [scale for scale in self.tta_scales if not 0 < scale <= _MAX_SCALE]
        if wrong or not self.tta_scales or len(set(self.tta_scales)) != len(self.tta_scales):
            raise UserError(
                f"`--tta_scales` must be different numbers above 0 and up to {_MAX_SCALE:g}. "
                f"Received: --tta_scales={','.join(map(str, self.tta_scales))}"
            )

    @property
    def averages(self) -> bool:
        """Whether anything is averaged; a whole image at one scale of 1 is not."""
        return self.mode != WHOLE or self.tta_flip or self.tta_scales != (1.0,)

    def to_json(self) -> dict[str, Any]:
        """States the options as plain data, for results."""
        facts: dict[str, Any] = {"inference": "whole image", "resize": RESIZE}
        if self.mode == SLIDING:
            facts["inference"] = "sliding window"
            facts |= {"window": list(self.window), "overlap": self.overlap}
        facts |= {"flip": self.tta_flip, "scales": list(self.tta_scales)}
        if self.averages:
            facts["averaging"] = (
                "softmax probabilities at the image's size: mean over the windows that hold the "
                "pixel, then over scales and flips, all of equal weight"
            )
        return facts


@dataclasses.dataclass(frozen=True)
class PredictionOptions:
    """How image files are predicted.

    Attributes:
        formats: some of `FORMATS`.
        opacity: share of colour in overlays.
        batch_size: images of one size at once.
        height: height that the network sees images at; 0 keeps the image's own.
        inference: what is done with an image.
        resume: goes on with an earlier prediction of the same settings.
        overwrite: replaces files.
        exif: what becomes of rotations that metadata note, one of `orientation.RULES`.
        pseudo_as: one of `PSEUDO_AS`.
    """

    formats: Sequence[str] = DEFAULT_FORMATS
    opacity: float = 0.5
    batch_size: int = 1
    height: int = 0
    inference: InferenceOptions = dataclasses.field(default_factory=InferenceOptions)
    resume: bool = False
    overwrite: bool = False
    exif: str = orientation.DEFAULT
    pseudo_as: str = TRAIN_IDS

    def __post_init__(self) -> None:
        unknown = [name for name in self.formats if name not in FORMATS]
        if unknown or not self.formats or len(set(self.formats)) != len(self.formats):
            raise UserError(
                f"`--format` must be different ones of {', '.join(FORMATS)}. "
                f"Received: --format={','.join(self.formats)}"
            )
        if not 0 <= self.opacity <= 1:
            raise UserError(f"`--opacity` must be 0 to 1. Received: --opacity={self.opacity}")
        check_batches(self.batch_size, self.height)
        if self.resume and self.overwrite:
            raise UserError("Give one of --resume and --overwrite, not both.")
        if self.pseudo_as not in PSEUDO_AS:
            raise UserError(
                f"`--pseudo_as` must be {', '.join(PSEUDO_AS)}. "
                f"Received: --pseudo_as={self.pseudo_as}"
            )
        if self.pseudo_as != TRAIN_IDS and PSEUDO_LABELS not in self.formats:
            raise UserError(
                f"`--pseudo_as` needs --format={PSEUDO_LABELS}. "
                f"Received: --format={','.join(self.formats)}"
            )
        if self.exif not in orientation.RULES:
            raise UserError(
                f"`--exif` must be {', '.join(orientation.RULES)}. Received: --exif={self.exif}"
            )


def _become_tuple(
    options: InferenceOptions, name: str, convert: Callable[[Any], Any], allowed: str
) -> None:
    """Turns an option that is a sequence into a tuple; None stays.

    Raises:
        UserError: it is none, or holds something else.
    """
    given = getattr(options, name)
    if given is None:
        return
    try:
        object.__setattr__(options, name, tuple(map(convert, given)))
    except (TypeError, ValueError):
        raise UserError(f"`{name}` must be {allowed}. Received: {name}={given!r}") from None


def check_batches(batch_size: int, height: int) -> None:
    """Refuses what no images can be shown at: fewer than one at once, or a height below 0.

    Raises:
        UserError: so it is, or one is no whole number.
    """
    whole = isinstance(batch_size, numbers.Integral) and isinstance(height, numbers.Integral)
    if not whole or batch_size < 1 or height < 0:
        raise UserError(
            "`--batch_size` must be at least 1 and `--height` 0 or more, whole numbers. "
            f"Received: --batch_size={batch_size}, --height={height}"
        )
