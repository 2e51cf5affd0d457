"""Colour operations against Pillow, one at a time and in sequences, eagerly and in tf.data."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from c3tf.data.augment.color_ops import ColorOp
from c3tf.data.augment.color_program import ColorProgram, apply_program, concatenate

TOP = np.iinfo(np.uint8).max


def pillow_hue(image: Image.Image, factor: float) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    turned = (np.asarray(hue).astype(int) + int(np.float32(factor) * TOP)).astype(np.uint8)
    return Image.merge("HSV", (Image.fromarray(turned), saturation, value)).convert("RGB")


PILLOW = {
    ColorOp.IDENTITY: lambda image, value: image,
    ColorOp.BRIGHTNESS: lambda image, value: ImageEnhance.Brightness(image).enhance(value),
    ColorOp.CONTRAST: lambda image, value: ImageEnhance.Contrast(image).enhance(value),
    ColorOp.SATURATION: lambda image, value: ImageEnhance.Color(image).enhance(value),
    ColorOp.HUE: pillow_hue,
    ColorOp.SHARPNESS: lambda image, value: ImageEnhance.Sharpness(image).enhance(value),
    ColorOp.AUTO_CONTRAST: lambda image, value: ImageOps.autocontrast(image),
    ColorOp.EQUALIZE: lambda image, value: ImageOps.equalize(image),
    ColorOp.INVERT: lambda image, value: ImageOps.invert(image),
    ColorOp.POSTERIZE: lambda image, value: ImageOps.posterize(image, int(value)),
    ColorOp.SOLARIZE: lambda image, value: ImageOps.solarize(image, int(value)),
    ColorOp.SOLARIZE_ADD: lambda image, value: image.point(
        lambda byte: min(TOP, byte + int(value)) if byte < 128 else byte
    ),
}
FACTORS = (0.0, 0.1, 0.5, 0.77, 1.0, 1.37, 1.5, 1.9, 20.0)
VALUES = dict.fromkeys(ColorOp, FACTORS) | {
    ColorOp.HUE: (-0.5, -0.25, -0.003, 0.0, 0.1, 0.25),
    ColorOp.POSTERIZE: (1, 3, 4, 8),
    ColorOp.SOLARIZE: (0, 1, 230, 243, 256),
    ColorOp.SOLARIZE_ADD: (0, 104, 110),
    **dict.fromkeys(
        (ColorOp.IDENTITY, ColorOp.AUTO_CONTRAST, ColorOp.EQUALIZE, ColorOp.INVERT), (0,)
    ),
}
# Pillow blends in floating point, which other processors may contract; the rest is integers.
BLENDS = {
    ColorOp.BRIGHTNESS,
    ColorOp.CONTRAST,
    ColorOp.SATURATION,
    ColorOp.HUE,
    ColorOp.SHARPNESS,
}
HEIGHT, WIDTH = 48, 64


def pictures() -> dict[str, np.ndarray]:
    random = np.random.RandomState(3)
    noise = random.randint(0, TOP + 1, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    ramp = np.stack(
        [
            np.add.outer(np.arange(HEIGHT) * 3, np.arange(WIDTH)),
            np.add.outer(np.arange(HEIGHT), 255 - 3 * np.arange(WIDTH)),
            np.full((HEIGHT, WIDTH), 77),
        ],
        axis=-1,
    )
    return {
        "noise": noise,
        "dark": noise // 4 + 13,
        "ramp": ramp.clip(0, TOP).astype(np.uint8),
        "constant": np.full((HEIGHT, WIDTH, 3), (10, 200, 30), np.uint8),
        "black": np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        "two values": np.where(noise > 100, np.uint8(90), np.uint8(60)),
    }


def program(*steps: tuple[ColorOp, float]) -> ColorProgram:
    # Of one length, because every length is compiled anew.
    steps = (*steps, *[(ColorOp.IDENTITY, 0.0)] * (4 - len(steps)))
    return ColorProgram(
        tf.constant([int(op) for op, _ in steps], tf.int32),
        tf.constant([value for _, value in steps], tf.float32),
    )


def with_pillow(image: np.ndarray, *steps: tuple[ColorOp, float]) -> np.ndarray:
    result = Image.fromarray(image)
    for op, value in steps:
        result = PILLOW[op](result, float(np.float32(value)))
    return np.asarray(result)


def assert_as_pillow(ours: np.ndarray, theirs: np.ndarray, exact: bool) -> None:
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert difference.max() <= (0 if exact else 1)
    # A grey level off is the last bit of a float, not a different rule.
    assert np.mean(difference > 0) < 0.01


@pytest.mark.parametrize("op", list(ColorOp))
def test_equals_pillow(op):
    for image in pictures().values():
        for value in VALUES[op]:
            ours = apply_program(image, program((op, value))).numpy()
            assert_as_pillow(ours, with_pillow(image, (op, value)), exact=op not in BLENDS)


def test_hue_of_every_kind_of_colour():
    levels = np.unique(np.r_[np.arange(0, 256, 9), 1, 2, 127, 128, 254, 255]).astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(len(levels), -1, 3)
    for factor in (-0.25, 0.07):
        ours = apply_program(colours, program((ColorOp.HUE, factor))).numpy()
        assert_as_pillow(ours, with_pillow(colours, (ColorOp.HUE, factor)), exact=False)


def test_authors_rand_augment_cases(authors):
    steps = {
        "AutoContrast_m10": (ColorOp.AUTO_CONTRAST, 0),
        "Equalize_m10": (ColorOp.EQUALIZE, 0),
        "PosterizeTpu_m10": (ColorOp.POSTERIZE, 4),
        "Color_m9.4": (ColorOp.SATURATION, 0.1 + 1.8 * 0.94),
    }
    assert {name for name in authors if name.startswith("f_rand")} == {
        f"f_rand_{name}" for name in steps
    }
    for name, step in steps.items():
        ours = apply_program(authors["f_image"], program(step)).numpy()
        assert_as_pillow(ours, authors[f"f_rand_{name}"], exact=step[0] not in BLENDS)


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
@hypothesis.given(
    st.lists(
        st.sampled_from(list(ColorOp)).flatmap(
            lambda op: st.tuples(st.just(op), st.sampled_from(VALUES[op]))
        ),
        min_size=4,
        max_size=4,
    ),
    st.sampled_from(sorted(pictures())),
)
def test_sequences_equal_pillow_step_by_step(steps, name):
    image = pictures()[name]
    # A blend may differ by a grey level, which later steps would magnify: start from Pillow's.
    theirs = [image]
    for step in steps:
        theirs.append(with_pillow(theirs[-1], step))
    blends = [index for index, (op, _) in enumerate(steps) if op in BLENDS]
    start = blends[-1] if blends else 0
    ours = apply_program(theirs[start], program(*steps[start:])).numpy()
    whole = apply_program(image, program(*steps)).numpy()
    np.testing.assert_array_equal(ours, theirs[-1])
    assert np.mean(whole != theirs[-1]) < 0.01


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (3, 3)])
def test_tiny_images(size):
    image = np.random.RandomState(0).randint(0, TOP + 1, (*size, 3)).astype(np.uint8)
    for op in ColorOp:
        step = (op, VALUES[op][-1])
        ours = apply_program(image, program(step)).numpy()
        assert_as_pillow(ours, with_pillow(image, step), exact=True)


def test_posterize_to_no_bits_is_black():
    image = pictures()["noise"]
    assert not apply_program(image, program((ColorOp.POSTERIZE, 0))).numpy().any()


def test_empty_program_changes_nothing():
    image = pictures()["noise"]
    empty = ColorProgram(tf.zeros([0], tf.int32), tf.zeros([0], tf.float32))
    np.testing.assert_array_equal(apply_program(image, empty), image)


def test_concatenated_programs_run_in_order():
    image = pictures()["ramp"]
    first, second = (ColorOp.SOLARIZE, 100), (ColorOp.SATURATION, 0.3)
    joined = concatenate(program(first), program(second))
    ours = apply_program(image, joined).numpy()
    assert joined.ops.shape == joined.values.shape == (8,)
    assert_as_pillow(ours, with_pillow(image, first, second), exact=False)
    assert np.any(ours != with_pillow(image, second, first))


def test_inside_tf_data_in_parallel():
    image = tf.constant(pictures()["noise"])
    steps = [(op, value) for op in ColorOp for value in VALUES[op]]
    ops = tf.constant([int(op) for op, _ in steps])
    values = tf.constant([value for _, value in steps], tf.float32)
    dataset = tf.data.Dataset.range(len(steps)).map(
        lambda index: apply_program(
            image,
            ColorProgram(
                tf.pad(ops[index : index + 1], [[1, 2]]),
                tf.pad(values[index : index + 1], [[1, 2]]),
            ),
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    assert dataset.element_spec.shape == (HEIGHT, WIDTH, 3)
    for step, ours in zip(steps, dataset.as_numpy_iterator(), strict=True):
        assert_as_pillow(ours, with_pillow(image.numpy(), step), exact=step[0] not in BLENDS)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_refuses_other_images(image):
    with pytest.raises(ValueError, match="`image` must be uint8 of static shape"):
        apply_program(image, program((ColorOp.INVERT, 0)))
