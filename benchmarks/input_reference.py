"""The usual PyTorch-style input: one Python function per sample, on Pillow, OpenCV and NumPy.

Written for comparison from the same description as c3tf's pipeline: rotation, flip, scale, crop,
colour jitter and RandAugment, with the same probabilities. It makes no valid mask and leaves
images as uint8, which is less than such code usually does.
"""

import dataclasses
import io
from types import ModuleType

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from c3tf.labels import IGNORE

_DEGREES = 10
_TOP = np.iinfo(np.uint8).max


@dataclasses.dataclass
class Reference:
    """Makes samples one by one.

    Attributes:
        crop: height and width of a view.
        resize: height and width that the image is brought to first; None leaves it.
        scales: factors to draw from; empty for none.
        cv2: the OpenCV module, for decoding and geometry; None leaves them to Pillow.
        rng: random numbers.
    """

    crop: tuple[int, int]
    resize: tuple[int, int] | None
    scales: tuple[float, ...]
    cv2: ModuleType | None
    rng: np.random.Generator

    def unlabeled(self, image: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Returns the weak and the strong view; rotation comes first, as in the authors' code."""
        pixels = self._rotate(self._sized(self._decode(image)), self._degrees())
        weak = self._flip_and_crop([pixels])[0]
        strong = _rand_augment(_jitter(Image.fromarray(weak), self.rng), self.rng)
        return weak, np.asarray(strong)

    def labeled(self, image: bytes, label: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Returns the weak view and its label; rotation comes last, as in the authors' code."""
        pair = [self._sized(self._decode(image)), self._sized(self._decode(label, True), True)]
        view, label = self._flip_and_crop(pair)
        degrees = self._degrees()
        return self._rotate(view, degrees), self._rotate(label, degrees, is_label=True)

    def batch(self, images: list, labels: list, others: list) -> list[np.ndarray]:
        """Returns stacked views of labeled images, their labels, and both views of others."""
        pairs = [self.labeled(*pair) for pair in zip(images, labels, strict=True)]
        views = [self.unlabeled(image) for image in others]
        return [np.stack(part) for part in (*zip(*pairs, strict=True), *zip(*views, strict=True))]

    def _degrees(self) -> int:
        return int(self.rng.integers(-_DEGREES, _DEGREES + 1))

    def _decode(self, encoded: bytes, is_label: bool = False) -> np.ndarray:
        if self.cv2 is None:
            with Image.open(io.BytesIO(encoded)) as image:
                return np.asarray(image if is_label else image.convert("RGB"))
        cv2, data = self.cv2, np.frombuffer(encoded, np.uint8)
        if is_label:
            return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    def _sized(self, pixels: np.ndarray, is_label: bool = False) -> np.ndarray:
        return pixels if self.resize is None else self._scale_to(pixels, self.resize, is_label)

    def _scale_to(self, pixels: np.ndarray, size: tuple[int, int], is_label: bool) -> np.ndarray:
        if self.cv2 is None:
            kind = Image.Resampling.NEAREST if is_label else Image.Resampling.BILINEAR
            return np.asarray(Image.fromarray(pixels).resize(size[::-1], kind))
        kind = self.cv2.INTER_NEAREST if is_label else self.cv2.INTER_LINEAR
        return self.cv2.resize(pixels, size[::-1], interpolation=kind)

    def _rotate(self, pixels: np.ndarray, degrees: int, is_label: bool = False) -> np.ndarray:
        fill = IGNORE if is_label else 0
        if self.cv2 is None:
            kind = Image.Resampling.NEAREST if is_label else Image.Resampling.BILINEAR
            return np.asarray(Image.fromarray(pixels).rotate(degrees, kind, fillcolor=fill or None))
        height, width = pixels.shape[:2]
        kind = self.cv2.INTER_NEAREST if is_label else self.cv2.INTER_LINEAR
        matrix = self.cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
        return self.cv2.warpAffine(
            pixels, matrix, (width, height), flags=kind, borderValue=(fill,) * 3
        )

    def _flip_and_crop(self, parts: list[np.ndarray]) -> list[np.ndarray]:
        if self.scales:
            scale = self.rng.choice(self.scales)
            size = tuple(int(side * scale) for side in parts[0].shape[:2])
            parts = [self._scale_to(part, size, part.ndim == 2) for part in parts]
        if self.rng.random() < 0.5:
            parts = [part[:, ::-1] for part in parts]
        height, width = self.crop
        missing = [max(0, c - s) for c, s in zip(self.crop, parts[0].shape[:2], strict=True)]
        if any(missing):
            borders = [(0, missing[0]), (0, missing[1])]
            parts = [
                np.pad(part, borders, constant_values=IGNORE)
                if part.ndim == 2
                else np.pad(part, [*borders, (0, 0)])
                for part in parts
            ]
        top = self.rng.integers(parts[0].shape[0] - height + 1)
        left = self.rng.integers(parts[0].shape[1] - width + 1)
        return [
            np.ascontiguousarray(part[top : top + height, left : left + width]) for part in parts
        ]


def _jitter(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    steps = [
        (0.5, lambda i: ImageEnhance.Brightness(i).enhance(rng.uniform(0.5, 1.5))),
        (0.5, lambda i: ImageEnhance.Contrast(i).enhance(rng.uniform(0.5, 1.5))),
        (0.5, lambda i: ImageEnhance.Color(i).enhance(rng.uniform(0.5, 1.5))),
        (0.25, lambda i: _turn_hue(i, rng.uniform(-0.25, 0.25))),
    ]
    for index in rng.permutation(len(steps)):
        probability, step = steps[index]
        if rng.random() < probability:
            image = step(image)
    return image


def _turn_hue(image: Image.Image, factor: float) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    turned = (np.asarray(hue, np.int16) + int(factor * _TOP)).astype(np.uint8)
    return Image.merge("HSV", (Image.fromarray(turned), saturation, value)).convert("RGB")


def _solarize_add(image: Image.Image, addition: int) -> Image.Image:
    half = (_TOP + 1) // 2
    return image.point([min(_TOP, b + addition) if b < half else b for b in range(_TOP + 1)] * 3)


def _rand_augment(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    steps = [
        lambda i, share: ImageOps.autocontrast(i),
        lambda i, share: ImageOps.equalize(i),
        lambda i, share: ImageOps.invert(i),
        lambda i, share: ImageOps.posterize(i, int(4 * share)) if share >= 0.25 else i,
        lambda i, share: ImageOps.solarize(i, int((_TOP + 1) * share)),
        lambda i, share: _solarize_add(i, int(110 * share)),
        lambda i, share: ImageEnhance.Color(i).enhance(0.1 + 1.8 * share),
        lambda i, share: ImageEnhance.Contrast(i).enhance(0.1 + 1.8 * share),
        lambda i, share: ImageEnhance.Brightness(i).enhance(0.1 + 1.8 * share),
        lambda i, share: ImageEnhance.Sharpness(i).enhance(0.1 + 1.8 * share),
    ]
    for index in rng.integers(len(steps), size=2):
        if rng.random() < 0.5:
            image = steps[index](image, np.clip(rng.normal(10, 0.5), 0, 10) / 10)
    return image
