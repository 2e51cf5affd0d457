"""Winograd's convolution against a convolution tap by tap, gradients included."""

from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf

from c3tf.nets import winograd


def of(shape, seed, dtype="float64"):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), dtype)


def with_gradients(function, *arguments):
    """The result of a function, and the gradients of a loss that weighs its numbers differently."""

    @tf.function(autograph=False)
    def run(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            result = function(*arguments)
            loss = tf.reduce_sum(tf.sin(tf.cast(result, "float64")))
        return [result, *tape.gradient(loss, arguments)]

    return run(*arguments)


def tap_by_tap(x, kernel):
    return tf.nn.conv2d(x, kernel, 1, "SAME")


def test_four_products_filter_two_outputs_exactly():
    rng = np.random.default_rng(0)
    exact = np.vectorize(Fraction, otypes=[object])
    inputs, taps = (exact(rng.integers(-9, 10, n).astype(object)) for n in (4, 3))
    products = (exact(winograd.KERNEL) @ taps) * (exact(winograd.INPUT) @ inputs)
    expected = [sum(taps * inputs[i : i + 3]) for i in range(2)]
    assert list(exact(winograd.OUTPUT) @ products) == expected


@pytest.mark.parametrize("shape", [(1, 2, 2, 3), (2, 4, 10, 5)])
def test_maps_and_gradients_are_those_of_a_convolution_tap_by_tap(shape):
    x, kernel = of(shape, 1), of((3, 3, shape[-1], 4), 2)
    found = with_gradients(winograd.conv2d, x, kernel)
    for mine, expected in zip(found, with_gradients(tap_by_tap, x, kernel), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


def test_the_kernel_is_multiplied_with_the_scale():
    x, kernel, scale = of((2, 4, 6, 3), 1), of((3, 3, 3, 5), 2), of((5,), 3)
    found = with_gradients(lambda x, kernel: winograd.conv2d(x, kernel, scale), x, kernel)
    whole = with_gradients(lambda x, kernel: tap_by_tap(x, kernel * scale), x, kernel)
    for mine, expected in zip(found, whole, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


def test_float32_rounds_about_as_tap_by_tap():
    x, kernel = of((2, 16, 16, 64), 1), of((3, 3, 64, 64), 2)
    exact = with_gradients(tap_by_tap, x, kernel)
    x, kernel = (tf.cast(value, "float32") for value in (x, kernel))

    def errors(function):
        found = with_gradients(function, x, kernel)
        pairs = zip(found, exact, strict=True)
        return np.array([np.sqrt(np.mean((tf.cast(a, "float64") - b) ** 2)) for a, b in pairs])

    assert np.all(errors(winograd.conv2d) < 2 * errors(tap_by_tap))


def test_what_only_the_gradient_needs_is_made_when_it_is_asked_for():
    x, kernel = of((2, 4, 4, 3), 1), of((3, 3, 3, 4), 2)
    graph = winograd._gradients.get_concrete_function(x, kernel, None, x[..., :1] * kernel[0, 0, 0])
    operations = graph.graph.get_operations()
    calls = [op for op in operations if "transformed" in str(op.node_def)]
    assert len(calls) == 4
    # Of the gradient that comes, only; all else waits for it, or for what was made of it.
    (free,) = (op for op in calls if not op.control_inputs)
    assert free.inputs[0].op.name == "upstream"


def test_a_kernel_is_transformed_when_its_maps_are_there():
    x, kernel = of((2, 4, 4, 3), 1), of((3, 3, 3, 4), 2)
    graph = winograd._convolved.get_concrete_function(x, kernel, None).graph
    calls = [op for op in graph.get_operations() if "_transformed_kernel" in str(op.node_def)]
    (waits,) = (op.control_inputs for op in calls)
    assert [[op.type, op.inputs[0].op.name] for op in waits] == [["Slice", "x"]]


def layer(inputs=256, outputs=256, size=3, kind=keras.layers.Conv2D, **options):
    filters = {} if kind is keras.layers.DepthwiseConv2D else {"filters": outputs}
    made = kind(kernel_size=size, **({"padding": "same"} | options | filters))
    made.build((None, None, None, inputs))
    return made


def test_a_plain_layer_of_many_channels_and_tiles_is_computed_so():
    assert winograd.suits(layer(), tf.TensorShape([2, 16, 32, 256]))
    assert winograd.suits(layer(outputs=512), tf.TensorShape([32, 4, 8, 256]))


@pytest.mark.parametrize(
    ("made", "shape"),
    [
        pytest.param(lambda: layer(inputs=64), (8, 16, 16, 64), id="few inputs"),
        pytest.param(lambda: layer(outputs=64), (8, 16, 16, 256), id="few outputs"),
        pytest.param(layer, (8, 15, 16, 256), id="odd rows"),
        pytest.param(layer, (8, 16, 17, 256), id="odd columns"),
        pytest.param(layer, (1, 16, 16, 256), id="few tiles"),
        pytest.param(layer, (None, 16, 16, 256), id="unknown batch"),
        pytest.param(lambda: layer(size=5), (8, 16, 16, 256), id="other kernel"),
        pytest.param(lambda: layer(strides=2), (8, 16, 16, 256), id="stride"),
        pytest.param(lambda: layer(groups=2), (8, 16, 16, 256), id="groups"),
        pytest.param(lambda: layer(padding="valid"), (8, 16, 16, 256), id="no padding"),
        pytest.param(
            lambda: layer(kind=keras.layers.DepthwiseConv2D), (8, 16, 16, 256), id="depthwise"
        ),
    ],
)
def test_other_layers_are_not(made, shape):
    assert not winograd.suits(made(), tf.TensorShape(shape))
