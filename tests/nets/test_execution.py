"""What training runs of a network computes what Keras runs of it, gradients included."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

import tiny_segmenter
from c3tf.nets import (
    backbones,
    deeplab,
    execution,
    folding,
    operations,
    parts,
    recomputation,
    winograd,
)
from untrained import randomise

CASES = [
    pytest.param("small", 4, (32, 64), id="small, cut in four and in sixteen"),
    pytest.param("small", 4, (36, 40), id="small, cut in four alone"),
    pytest.param("resnet50", 8, (64, 32), id="resnet, cut alike", marks=pytest.mark.slow),
    pytest.param("efficientnet_lite0", 16, (48, 80), id="lite0"),
    pytest.param("v3plus", 16, (32, 64), id="v3plus, its batch norm frozen"),
    pytest.param("resnet50", 8, (72, 88), id="resnet, odd feature grid", marks=pytest.mark.slow),
    pytest.param("resnet50", 16, (64, 64), id="resnet, stride 16", marks=pytest.mark.slow),
    pytest.param("efficientnet_lite0", 8, (64, 64), id="lite0, dilated", marks=pytest.mark.slow),
    pytest.param("mobilenetv3_small", 8, (64, 64), id="gates", marks=pytest.mark.slow),
    pytest.param("convnext_tiny", 8, (64, 64), id="layer norm", marks=pytest.mark.slow),
    pytest.param("densenet121", 16, (64, 64), id="norm before", marks=pytest.mark.slow),
]


def small():
    """A network of few layers, of every kind that is run in its own way."""
    x = images = keras.Input((None, None, 3), name="image")
    names = (f"layer_{number}" for number in itertools.count())

    def convolution(x, filters, size=3, layer=keras.layers.Conv2D, **options):
        filters = {} if layer is keras.layers.DepthwiseConv2D else {"filters": filters}
        options |= {"padding": "same", "use_bias": False, "name": next(names)} | filters
        x = layer(kernel_size=size, **options)(x)
        return keras.layers.BatchNormalization(trainable=False, name=next(names))(x)

    for _ in range(2):
        x = keras.layers.ReLU()(convolution(x, 32, strides=2))
    for dilation in (2, 2, 4):
        branch = keras.layers.ReLU()(convolution(x, 32, dilation_rate=dilation))
        x = keras.layers.Add()([x, convolution(branch, 32, 1)])
    depthwise = keras.layers.DepthwiseConv2D
    embedding = convolution(x, 32, layer=depthwise, dilation_rate=4)
    embedding = keras.layers.Conv2D(6, 1, name="projection")(keras.layers.ReLU()(embedding))
    few = [
        keras.layers.Conv2D(3, 3, padding="same", dilation_rate=rate, name=next(names))(x)
        for rate in (3, 24)
    ]
    return keras.Model(images, {"logits": keras.layers.Add()(few), "embedding": embedding})


def build(backbone, output_stride, **options):
    """A network whose batch norms do something."""
    if backbone == "small":
        network = small()
    elif backbone == "v3plus":
        head = {"head": "deeplab_v3plus", "train_head_batch_norm": False}
        network = deeplab.build("efficientnet_lite0", 4, output_stride, 6, "random", **head)
    else:
        network = deeplab.build(backbone, 4, output_stride, 6, "random", **options)
    return randomise(network)


def images(size, dtype, seed=1):
    x = np.random.default_rng(seed).integers(0, 256, (2, *size, 3))
    return tf.constant(x, dtype)


def outputs_and_gradients(run, network, x):
    variables = [variable.value for variable in network.trainable_variables]

    @tf.function(autograph=False)
    def compiled():
        with tf.GradientTape() as tape:
            outputs = run(x)
            loss = tf.add_n([tf.reduce_sum(tf.sin(output)) for output in outputs.values()])
        return outputs, tape.gradient(loss, variables)

    outputs, gradients = compiled()
    paths = [variable.path for variable in network.trainable_variables]
    return outputs | dict(zip(paths, gradients, strict=True))


def assert_equal(network, x, tolerance, recompute=False):
    expected = outputs_and_gradients(lambda x: network(x, training=True), network, x)
    found = outputs_and_gradients(execution.fast(network, recompute), network, x)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = np.abs(value).max()
        assert scale > 0, name
        np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize(("backbone", "output_stride", "size"), CASES)
def test_outputs_and_gradients_are_those_of_the_network(backbone, output_stride, size):
    with tiny_segmenter.precision("float64"):
        network = build(backbone, output_stride)
        assert_equal(network, images(size, "float64"), 1e-9)


@pytest.mark.parametrize("recompute", [False, True])
def test_products_of_matrices_compute_the_same(monkeypatch, recompute):
    of_winograd = []

    def conv2d(*arguments):
        of_winograd.append(arguments)
        return convolve(*arguments)

    convolve = winograd.conv2d
    monkeypatch.setattr(winograd, "conv2d", conv2d)
    monkeypatch.setattr(winograd, "_FEWEST_CHANNELS", 8)
    monkeypatch.setattr(winograd, "_FEWEST_TILES", 1)
    monkeypatch.setattr(operations, "_FEWEST_CHANNELS_OF_PRODUCT", 3)
    with tiny_segmenter.precision("float64"):
        network = build("small", 4)
        # The stride of 4 leaves maps of 8x16, cut into 4x8 and 2x4.
        assert_equal(network, images((32, 64), "float64"), 1e-9, recompute)
    assert len(of_winograd) == (6 if recompute else 3)


def test_gpus_and_half_precision_convolve_as_tensorflow_does(monkeypatch):
    assert operations._favours_products(tf.zeros([1], "float32"))
    assert not operations._favours_products(tf.zeros([1], "bfloat16"))
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])
    assert not operations._favours_products(tf.zeros([1], "float32"))


@pytest.mark.parametrize(
    ("backbone", "output_stride"),
    [
        ("small", 4),
        pytest.param("resnet50", 8, marks=pytest.mark.slow),
        pytest.param("efficientnet_lite0", 16, marks=pytest.mark.slow),
    ],
)
def test_float32_rounds_no_worse_than_the_network(backbone, output_stride):
    network = build(backbone, output_stride)
    ways = (execution.fast(network), lambda x: network(x, training=True))
    with tiny_segmenter.precision("float64"):
        twin = build(backbone, output_stride)
        twin.set_weights(network.get_weights())
    # Of some batches the least: where rounding moves one unit over ReLU's edge, gradients of all
    # layers before it jump, on any side.
    errors = np.min([rounding(ways, network, twin, seed) for seed in range(1, 4)], axis=0)
    error, keras_error = np.median(errors, axis=1)
    assert keras_error < 1e-4
    # Sums are taken in another order, so either way may be the luckier one on a machine.
    assert error < 4 * keras_error


def rounding(ways, network, twin, seed):
    """For each way the errors of outputs and gradients, relative to the largest number of each."""
    x = images((64, 64), "float32", seed)
    found = [outputs_and_gradients(way, network, x) for way in ways]
    with tiny_segmenter.precision("float64"):
        exact = outputs_and_gradients(execution.fast(twin), twin, tf.cast(x, "float64"))
    exact = {name: value.numpy() for name, value in exact.items()}
    assert {value.dtype for way in found for value in way.values()} == {tf.float32}
    return [
        [np.abs(way[name].numpy() - x).max() / np.abs(x).max() for name, x in exact.items()]
        for way in found
    ]


def kinds_of_operations(run, x):
    """Kinds of operations of a forward pass on maps, as TensorFlow is given them."""
    graph = tf.function(run, autograph=False).get_concrete_function(x).graph
    outputs = [output for operation in graph.get_operations() for output in operation.outputs]
    # Kernels have four axes too, but an odd number of rows.
    return [y.op.type for y in outputs if y.shape.rank == 4 and y.shape[0] % 2 == 0]


def test_no_batch_norm_is_left_and_maps_are_rearranged_once():
    network = build("resnet50", 8)
    x = images((64, 64), "float32")
    kinds = kinds_of_operations(execution.fast(network), x)
    of_keras = kinds_of_operations(lambda x: network(x, training=True), x)
    norms = [x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)]
    # One is of the images.
    assert kinds.count("Mul") == 1
    assert of_keras.count("Mul") == 1 + len(norms)
    # Into a quarter, into a sixteenth, each for the branch and for its shortcut.
    assert kinds.count("SpaceToBatchND") == 4


def test_kernels_are_folded_in_turn_and_no_padding_waits_for_itself():
    # ZeroPadding2D and the convolution behind it become one operation, which must not wait for it.
    x = images = keras.Input((None, None, 3))
    for _ in range(2):
        x = keras.layers.Conv2D(4, 3, use_bias=False)(keras.layers.ZeroPadding2D()(x))
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(trainable=False)(x))
    run = execution.fast(keras.Model(images, x))
    graph = tf.function(run).get_concrete_function(tf.zeros([2, 8, 8, 3])).graph
    reads = [op for op in graph.get_operations() if op.type == "ReadVariableOp"]
    waits = [{before.type for before in op.control_inputs} for op in reads]
    # Kernel and the four variables of batch norm, of either convolution.
    # For a number of what they convolve.
    assert waits == 10 * [{"Slice"}]
    slices = [op.inputs[0].op.type for op in graph.get_operations() if op.type == "Slice"]
    assert slices == ["Placeholder", "Relu"]


def executed(run, x):
    """Operations of a forward pass as TensorFlow has optimized it."""
    context.context().enable_graph_collection()
    try:
        tf.function(run, autograph=False)(x)
        graphs = context.context().export_run_metadata().partition_graphs
    finally:
        context.context().disable_graph_collection()
    return [node for graph in graphs for node in graph.node]


def chain(monkeypatch, filters):
    """A residual block: one tap, three by Winograd's way where there are 8 filters, one again."""
    monkeypatch.setattr(winograd, "_FEWEST_CHANNELS", 8)
    monkeypatch.setattr(winograd, "_FEWEST_TILES", 1)
    images = keras.Input((8, 8, 6))
    x = images
    for number, (size, count) in enumerate([(1, filters), (3, filters), (1, 6)]):
        x = keras.layers.Conv2D(count, size, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(trainable=False)(x)
        x = x if number == 2 else keras.layers.ReLU()(x)
    x = keras.layers.ReLU()(keras.layers.Add()([images, x]))
    return execution.fast(keras.Model(images, x))


@pytest.mark.parametrize("filters", [4, 8])
def test_convolution_bias_and_activation_are_one_operation(monkeypatch, filters):
    nodes = executed(chain(monkeypatch, filters), tf.ones([2, 8, 8, 6]))
    kinds = [list(x.attr["fused_ops"].list.s) for x in nodes if x.attr["fused_ops"].list.s]
    of_winograd = filters == 8
    with_relu = [b"BiasAdd", b"Relu"]
    assert kinds.count(with_relu) == (1 if of_winograd else 2)
    # oneDNN takes up the sum as well.
    if any(x.op.startswith("_Mkl") for x in nodes):
        assert kinds.count([b"BiasAdd", b"Add", b"Relu"]) == 1
        assert [x.op for x in nodes].count("Relu") == (1 if of_winograd else 0)


def test_variables_are_the_networks_own():
    network = build("efficientnet_lite0", 16)
    run = execution.fast(network)
    x = images((64, 64), "float32")
    before = run(x)["logits"].numpy()
    kernel = network.get_layer(f"{backbones.PREFIX}stem_conv").kernel
    kernel.assign(2 * kernel)
    assert np.abs(run(x)["logits"] - before).max() > 0
    np.testing.assert_allclose(run(x)["logits"], network(x)["logits"], atol=1e-4)


def test_encoder_and_decoder_are_the_network():
    network = build("efficientnet_lite0", 16)
    x = images((64, 64), "float32")
    whole = execution.fast(network)(x)
    encoder, decoder = map(execution.fast, parts.split(network))
    features = encoder(x)
    assert features.keys() == {0}
    found = decoder(list(features.values()))
    assert found.keys() == whole.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize(
    ("backbone", "output_stride", "size"),
    [
        ("small", 4, (32, 64)),
        pytest.param("resnet50", 8, (64, 32), marks=pytest.mark.slow),
        pytest.param("efficientnet_lite0", 16, (48, 80), marks=pytest.mark.slow),
    ],
)
def test_recomputation_changes_neither_outputs_nor_gradients(backbone, output_stride, size):
    with tiny_segmenter.precision("float64"):
        network = build(backbone, output_stride)
        x = images(size, "float64")
        kept = outputs_and_gradients(execution.fast(network), network, x)
        again = outputs_and_gradients(execution.fast(network, recompute=True), network, x)
    for name, value in kept.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(again[name], value, rtol=0, atol=1e-12 * scale, err_msg=name)


def test_a_norm_that_no_convolution_takes_up_is_recomputed_too():
    x = image = keras.Input((None, None, 3), name="image")
    for _ in range(4):
        x = keras.layers.BatchNormalization(trainable=False)(x)
        x = keras.layers.Conv2D(4, 3, padding="same")(keras.layers.ReLU()(x))
    network = keras.Model(image, {"logits": x})
    x = images((8, 8), "float32") / 255
    kept = outputs_and_gradients(execution.fast(network), network, x)
    again = outputs_and_gradients(execution.fast(network, recompute=True), network, x)
    for name, value in kept.items():
        np.testing.assert_allclose(again[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def convolutions(network, x, recompute):
    """How many convolutions a step computes forward."""
    run = execution.fast(network, recompute)
    variables = [variable.value for variable in network.trainable_variables]

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_sum(output) for output in run(x).values()])
        return tape.gradient(loss, variables)

    operations = step.get_concrete_function().graph.get_operations()
    return sum(operation.type in ("Conv2D", "DepthwiseConv2dNative") for operation in operations)


def test_all_but_the_heads_is_computed_again():
    network = build("small", 4)
    x = images((32, 64), "float32")
    layers = [x for x in network.layers if isinstance(x, folding.CONVOLUTIONS)]
    assert convolutions(network, x, recompute=False) == len(layers)
    # The two convolutions to the classes and the two of the embedding.
    assert convolutions(network, x, recompute=True) == 2 * len(layers) - 4


def test_stretches_follow_one_another_up_to_the_heads():
    network = deeplab.build("efficientnet_lite0", 4, 16, 6, "random")
    graph = folding.graph_of(network)
    names = [layer.name for layer in network.layers if layer.name not in graph.arguments]
    stretches = recomputation.stretches(graph, names)
    assert 5 < len(stretches) < 15
    whole = [name for stretch in stretches for name in stretch.layers]
    assert names[: len(whole)] == whole
    assert [x.source for x in stretches] == [*graph.arguments, *(x.result for x in stretches[:-1])]
    assert not any(name.startswith(backbones.PREFIX) for name in names[len(whole) :])
    # Nothing is read from the middle of an earlier one.
    for stretch in stretches:
        known = {stretch.source, *stretch.layers}
        assert all(known.issuperset(graph.inputs[name]) for name in stretch.layers)


def test_trained_batch_norm_is_left_alone():
    network = build("efficientnet_lite0", 16, train_batch_norm=True)
    x = images((64, 64), "float32")
    norm = next(x for x in network.layers if isinstance(x, keras.layers.BatchNormalization))
    before = norm.moving_mean.numpy()
    execution.fast(network)(x)
    assert np.abs(norm.moving_mean - before).max() > 0


def test_half_precision_rounds_the_folded_kernel_once():
    with tiny_segmenter.precision("mixed_bfloat16"):
        network = build("efficientnet_lite0", 16)
    x = images((64, 64), "float32")
    outputs = execution.fast(network)(x)
    assert {output.dtype for output in outputs.values()} == {tf.float32}
    with tiny_segmenter.precision("float32"):
        exact = build("efficientnet_lite0", 16)(x)["logits"].numpy()
    error, keras_error = (
        np.abs(way(x)["logits"] - exact).mean() for way in (execution.fast(network), network)
    )
    assert error < 2 * keras_error


def test_kernel_and_bias_without_a_norm_are_the_layers_own():
    layer = keras.layers.Conv2D(3, 1, use_bias=False)
    layer.build((None, 4, 4, 2))
    kernel, bias = folding.kernel_and_bias(layer, None)
    assert bias is None
    np.testing.assert_array_equal(kernel, layer.kernel)
