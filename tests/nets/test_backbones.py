"""Tests for the dilated backbones against the networks they are cloned from."""

import keras
import numpy as np
import pytest

import small_backbones
from c3tf.config.networks import BACKBONES
from c3tf.nets import backbones, dilation, flat, lite, weights


def _randomise(model, seed=0):
    """Gives every layer values that let differences between positions through to the end."""
    rng = np.random.default_rng(seed)
    for layer in flat.weighted(model).values():
        first, *others = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            beta, mean, variance = others
            values = [
                first * rng.uniform(0.5, 1.0, first.shape),
                beta + rng.uniform(-0.2, 0.2, beta.shape),
                mean + rng.uniform(-0.2, 0.2, mean.shape),
                variance * rng.uniform(0.5, 1.5, variance.shape),
            ]
        elif first.ndim > 1:
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            fan_in = np.prod(first.shape[: 2 if depthwise else -1])
            values = [rng.normal(0, np.sqrt(2 / fan_in), first.shape)]
            values += [rng.uniform(-0.5, 0.5, bias.shape) for bias in others]
        else:
            values = [rng.uniform(0.2, 1.0, value.shape) for value in (first, *others)]
        layer.set_weights(values)


class _MeanOfPublished(keras.layers.GlobalAveragePooling2D):
    """The mean over the positions that the published network has."""

    step = 1

    def call(self, inputs):
        first = self.step - 1
        return super().call(inputs[:, first :: self.step, first :: self.step])


def _with_published_means(network, placed):
    """Squeeze-and-excitation looks at a whole map, which is where the dilated one has more."""
    sources = {backbones.PREFIX + step.name: step.inputs[0] for step in placed.steps}

    def clone(layer):
        if not isinstance(layer, keras.layers.GlobalAveragePooling2D):
            return type(layer).from_config(layer.get_config())
        mean = _MeanOfPublished.from_config(layer.get_config())
        mean.step = placed.grids[sources[layer.name]].dilation
        return mean

    result = keras.models.clone_model(network, clone_function=clone)
    result.set_weights(network.get_weights())
    return result


def _published(base, names):
    """The published network itself, from the images that it is given to some of its maps."""
    found, sums = {}, 0
    for operation in base.operations:
        found[operation.name] = operation.output
        if type(operation) is keras.src.ops.numpy.Add:
            found["add" if sums == 0 else f"add_{sums}"] = operation.output
            sums += 1
    found["layer_normalization"] = base.output
    return keras.Model(base.input, [found[name] for name in names])


def _check_against_published(name, base, output_stride, image, first, ends):
    """Compares a dilated network, between its samples, with what it is made of."""
    _randomise(base)
    layout = backbones.library_layout(name)
    arrays = {n: layer.get_weights() for n, layer in flat.weighted(base).items()}
    scaled = image * np.float32(layout.scale) + np.float32(layout.offset)
    expected, expected_low = (x.numpy() for x in _published(base, ends)(scaled))
    placed = backbones.place(name, base, output_stride, layout)
    assert (placed.last, placed.low_level) == ends
    inputs = keras.Input((None, None, 3))
    network = keras.Model(inputs, list(backbones.build(inputs, name, base, output_stride, layout)))
    weights.assign(network, weights.BackboneWeights(name, layout, arrays, "test"))
    last, low_level = (x.numpy() for x in _with_published_means(network, placed)(image))
    height, width = image.shape[1:3]
    assert last.shape[1:3] == (height // output_stride, width // output_stride)
    assert low_level.shape[1:3] == (height // 4, width // 4)
    assert np.abs(low_level - expected_low).max() <= 1e-5 * np.abs(expected_low).max()
    step = placed.grids[placed.last].dilation
    differences = [
        np.abs(last[:, offset::step, offset::step] - expected).max() / np.abs(expected).max()
        for offset in range(step)
    ]
    assert differences[first] <= 1e-5
    # Positions between the samples see something else, or the comparison would say nothing.
    assert all(d > 1e-3 for offset, d in enumerate(differences) if offset != first)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3)).astype(np.float32)


# Of each family the same code with fewer and narrower blocks: what stands for it, where the
# published positions lie at output stride 8 (16 of DenseNet), and where its features end.
SMALL = {
    "resnet50v2": (small_backbones.resnet_v2, 0, ("post_relu", "conv2_block1_out")),
    "efficientnetv2_b0": (
        small_backbones.efficientnet_v2,
        3,
        ("block6d_add", "block2a_project_bn"),
    ),
    # Blocks of two by two: the middle of four positions is the second.
    "convnext_tiny": (small_backbones.convnext, 1, ("layer_normalization", "add")),
    "densenet121": (small_backbones.densenet, 0, ("relu", "conv2_block2_concat")),
}


@pytest.mark.parametrize("name", SMALL)
def test_dilated_networks_are_the_published_ones_between_their_samples(name, image):
    make, first, ends = SMALL[name]
    output_stride = min(BACKBONES[name].output_strides)
    _check_against_published(name, make(), output_stride, image, first, ends)


# As published, at both strides: where the published positions lie at stride 16 and 8.
WHOLE = {
    "resnet50": (0, 0, ("conv5_block3_out", "conv2_block3_out")),
    "resnet50v2": (0, 0, ("post_relu", "conv2_block2_out")),
    "mobilenet": (1, 3, ("conv_pw_13_relu", "conv_pw_3_relu")),
    "mobilenetv2": (1, 3, ("block_16_project_BN", "block_2_add")),
    "mobilenetv3_small": (1, 3, ("expanded_conv_10_add", "expanded_conv_project_bn")),
    "mobilenetv3_large": (1, 3, ("expanded_conv_14_add", "expanded_conv_2_add")),
    "efficientnetv2_b0": (1, 3, ("block6h_add", "block2b_add")),
    "efficientnetv2_s": (1, 3, ("block6o_add", "block2d_add")),
    "convnext_tiny": (0, 1, ("layer_normalization", "add_2")),
    "densenet121": (0, None, ("relu", "conv2_block6_concat")),
    "efficientnet_lite0": (0, 1, ("block5c_add", "block2b_add")),
    "efficientnet_lite4": (0, 1, ("block5f_add", "block2d_add")),
}


@pytest.mark.slow
@pytest.mark.parametrize("output_stride", [16, 8])
@pytest.mark.parametrize("name", WHOLE)
def test_whole_networks_are_the_published_ones_between_their_samples(name, output_stride, image):
    *firsts, ends = WHOLE[name]
    first, base = firsts[output_stride == 8], backbones.reference(name)
    if first is None:
        with pytest.raises(flat.BackboneError, match=r"pool4_pool \(AveragePooling2D\) cannot"):
            backbones.place(name, base, output_stride, backbones.library_layout(name))
    else:
        _check_against_published(name, base, output_stride, image, first, ends)


@pytest.mark.slow
@pytest.mark.parametrize("name", backbones.NAMES)
def test_every_backbone_is_what_the_configuration_says_of_it(name):
    base, layout = backbones.reference(name), backbones.library_layout(name)
    kinds = {type(layer): layer for layer in flat.weighted(base).values()}
    norm = kinds.get(keras.layers.BatchNormalization)
    assert (norm is not None) == BACKBONES[name].batch_norm
    if norm is not None:
        assert norm.epsilon == layout.epsilon
    for output_stride in backbones.OUTPUT_STRIDES:
        if output_stride in BACKBONES[name].output_strides:
            placed = backbones.place(name, base, output_stride, layout)
            assert placed.grids[placed.last].ours == output_stride
            assert placed.grids[placed.low_level] == (4, 4)
        else:
            with pytest.raises(flat.BackboneError, match=rf"--backbone={name}.* cannot be dilated"):
                backbones.place(name, base, output_stride, layout)


def test_layers_that_cannot_be_dilated_are_refused_by_name():
    base = small_backbones.densenet()
    layout = backbones.library_layout("densenet121")
    with pytest.raises(flat.BackboneError) as caught:
        backbones.place("densenet121", base, 8, layout)
    assert str(caught.value) == (
        "`--backbone=densenet121` must be given another `--output_stride`: layer pool4_pool "
        "(AveragePooling2D) cannot be dilated, as output stride 8 needs. "
        "Received: --output_stride=8"
    )


def _walked(*layers):
    image = keras.Input((None, None, 4))
    x = image
    for layer in layers:
        x = layer(x)
    return dilation.dilated(flat.steps(keras.Model(image, x)), 2)


def test_other_layers_are_refused_by_name():
    conv, pad = keras.layers.Conv2D, keras.layers.ZeroPadding2D
    halved = conv(4, 1, strides=4, name="half")
    for layers, reason in (
        ([keras.layers.SeparableConv2D(4, 3, name="odd")], "odd is of the kind SeparableConv2D"),
        ([conv(4, 3, groups=2, name="odd")], "odd convolves 2 groups"),
        ([conv(4, 3, name="odd")], "odd shrinks its map"),
        ([conv(4, (1, 3), name="odd", padding="same")], "odd has an oblong kernel"),
        ([halved, conv(4, 1)], "half has stride 4, which goes past 2"),
        ([pad(2, name="odd"), conv(4, 3)], "odd pads other than"),
        ([pad(((1, 1), (0, 0)), name="odd"), conv(4, 3)], "odd pads rows and columns"),
    ):
        with pytest.raises(flat.BackboneError, match=reason):
            _walked(*layers)


def test_strides_dilations_and_paddings_by_hand():
    conv, pad = keras.layers.Conv2D, keras.layers.ZeroPadding2D
    steps, grids = _walked(
        pad(((0, 1), (0, 1)), name="p1"),
        conv(4, 3, strides=2, name="c1"),
        conv(4, 3, strides=2, padding="same", name="c2"),
        pad(1, name="p3"),
        conv(4, 3, strides=2, name="c3"),
        conv(4, 5, padding="same", name="c4"),
    )
    found = {s.name: [s.config[k] for k in ("strides", "dilation_rate", "padding")] for s in steps}
    # The first still halves; the second reads what it halved, the others what lies 2 and 4 apart.
    assert found == {
        "c1": [2, 1, "same"],
        "c2": [1, 1, "same"],
        "c3": [1, 2, "same"],
        "c4": [1, 4, "same"],
    }
    assert [grids[name] for name in found] == [(2, 2), (4, 2), (8, 2), (8, 2)]


def test_names_do_not_depend_on_what_a_session_has_made():
    first, again = (
        [step.name for step in flat.steps(small_backbones.convnext())] for _ in range(2)
    )
    assert first == again
    assert {"add", "add_4", "layer_normalization"} <= set(first)


@pytest.mark.parametrize(
    ("number", "width", "depth"),
    [
        (0, 1.0, 1.0),
        *(
            pytest.param(*scales, marks=pytest.mark.slow)
            for scales in ((1, 1.0, 1.1), (2, 1.1, 1.2), (3, 1.2, 1.4), (4, 1.4, 1.8))
        ),
    ],
)
def test_lite_is_keras_cvs(number, width, depth):
    pytest.importorskip("keras_cv", reason="keras-cv is not installed")
    from keras_cv.models import EfficientNetLiteBackbone

    theirs = EfficientNetLiteBackbone(
        include_rescaling=False,
        width_coefficient=width,
        depth_coefficient=depth,
        drop_connect_rate=0.0,
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        input_shape=(None, None, 3),
    )
    ours = lite.build(number)
    expected = [layer.get_config() for layer in theirs.layers[1:]]
    assert [layer.get_config() for layer in ours.layers[1:]] == expected
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    ours.set_weights(theirs.get_weights())
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(ours(image), theirs(image))


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_resnet_is_the_published_one_between_its_samples(monkeypatch, image, output_stride):
    base = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(None, None, 3))
    _randomise(base)
    monkeypatch.setitem(weights._KERAS_IMAGENET, "resnet50", lambda **_: base)
    found = weights.resolve("resnet50", "imagenet", base)
    inputs = keras.Input((None, None, 3))
    built = backbones.build(inputs, "resnet50", base, output_stride, found.layout)
    network = keras.Model(inputs, built.last)
    weights.assign(network, found)
    features = network(image).numpy()
    # Keras' own preprocessing: BGR minus the mean. Its features come at stride 32.
    expected = base(keras.applications.resnet.preprocess_input(image.copy())).numpy()
    step = 32 // output_stride
    assert features.shape == (1, 64 // output_stride, 96 // output_stride, 2048)
    assert np.abs(features[:, ::step, ::step] - expected).max() <= 1e-4 * np.abs(expected).max()


def test_dilated_lite0_is_the_published_one_between_its_samples(image):
    base = backbones.reference("efficientnet_lite0")
    for output_stride, first in ((16, 0), (8, 1)):
        # "same" padding of even sizes puts a strided kernel's centre on the odd positions.
        ends = ("block5c_add", "block2b_add")
        _check_against_published("efficientnet_lite0", base, output_stride, image, first, ends)


def _dilations(layout, output_stride):
    base = backbones.reference("resnet50")
    image = keras.Input((None, None, 3))
    model = keras.Model(image, backbones.build(image, "resnet50", base, output_stride, layout).last)
    return model, {
        layer.name.removeprefix(backbones.PREFIX): (layer.strides[0], layer.dilation_rate[0])
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    }


def test_stride_stays_where_the_weights_had_it():
    model, keras_like = _dilations(backbones.KERAS_RESNET, 8)
    assert keras_like["conv3_block1_1_conv"] == (2, 1)
    assert keras_like["conv3_block1_2_conv"] == (1, 1)
    assert [keras_like[f"conv4_block{i}_2_conv"] for i in (1, 2)] == [(1, 2), (1, 2)]
    assert [keras_like[f"conv5_block{i}_2_conv"] for i in (1, 2)] == [(1, 4), (1, 4)]
    epsilons = {x.epsilon for x in model.layers if isinstance(x, keras.layers.BatchNormalization)}
    assert epsilons == {1.001e-5}

    model, torch_like = _dilations(backbones.TORCH_RESNET, 8)
    assert torch_like["conv3_block1_1_conv"] == (1, 1)
    assert torch_like["conv3_block1_2_conv"] == (2, 1)
    assert [torch_like[f"conv4_block{i}_2_conv"] for i in (1, 2)] == [(1, 1), (1, 2)]
    assert [torch_like[f"conv5_block{i}_2_conv"] for i in (1, 2)] == [(1, 2), (1, 4)]
    epsilons = {x.epsilon for x in model.layers if isinstance(x, keras.layers.BatchNormalization)}
    assert epsilons == {1e-5}


def test_refuses_a_layout_that_makes_no_sense():
    good = {"scale": (1.0,) * 3, "offset": (0.0,) * 3, "stride_kernel": 1, "epsilon": 1e-3}
    backbones.Layout(**good)
    for field, value in (
        ("scale", (1.0,)),
        ("offset", (0.0, 0.0, float("nan"))),
        ("stride_kernel", 2),
        ("epsilon", 0.0),
    ):
        with pytest.raises(ValueError, match=f"`{field}`"):
            backbones.Layout(**good | {field: value})


def test_max_pooling_rounded_up_against_its_definition():
    """Windows of three every second pixel, the last one begun inside or at the padded start."""
    base = backbones.reference("resnet50")
    image = keras.Input((None, None, 3))
    features = backbones.build(
        image, "resnet50", base, 8, backbones.KERAS_RESNET, max_pool_ceil=True
    ).last
    model = keras.Model(image, features)
    before, after = (
        keras.Model(image, model.get_layer(f"{backbones.PREFIX}{name}").output)
        for name in ("conv1_relu", "pool1_pool")
    )
    for height, width in ((16, 24), (18, 30)):
        pixels = np.random.default_rng(0).integers(0, 256, (1, height, width, 3)).astype("float32")
        x, pooled = before(pixels).numpy()[0], after(pixels).numpy()[0]
        rows, columns = (-(-(n - 1) // 2) + 1 for n in x.shape[:2])
        assert pooled.shape[:2] == (rows, columns)
        for r, c in np.ndindex(rows, columns):
            window = x[max(2 * r - 1, 0) : 2 * r + 2, max(2 * c - 1, 0) : 2 * c + 2]
            np.testing.assert_array_equal(pooled[r, c], window.max(axis=(0, 1)))
