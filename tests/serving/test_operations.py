"""The allow-list of operations: exports consist of it, and what reaches outside is refused."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import tiny_network
from c3tf.errors import UserError
from c3tf.labels import LabelMap
from c3tf.nets import deeplab
from c3tf.serving import keras_archive, model_card, operations, saved_model
from c3tf.serving.operations import OperationError

THREE = LabelMap("three", tuple("abc"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)), (0, 1, 2))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "model"
    return saved_model.save(tiny_network.build(), tiny_network.LABEL_MAP, path)


def graph_of(folder):
    return SavedModel.FromString((folder / operations.GRAPH_FILE).read_bytes())


@pytest.fixture
def changed(exported, tmp_path):
    """Changes the graph of an export, whose card then lists what it has become."""
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)

    def change(edit):
        model = graph_of(folder)
        edit(model)
        (folder / operations.GRAPH_FILE).write_bytes(model.SerializeToString())
        model_card.write(folder, {})
        return folder

    return change


def operations_of(folder):
    return {
        node.op
        for function in graph_of(folder).meta_graphs[0].graph_def.library.function
        if "traced" not in function.signature.name
        for node in function.node_def
    }


@pytest.mark.slow
def test_what_is_allowed_is_what_exports_of_all_kinds_consist_of(exported, tmp_path):
    """No more, or the list would not be read; no less, or an export would be refused."""
    fold = saved_model.ExportOptions()
    unfold = saved_model.ExportOptions(fold=False)
    exports = {
        "lite": ("efficientnet_lite0", {}, fold),
        "aligned": ("efficientnet_lite0", {"align_corners": True}, fold),
        "resnet": ("resnet50", {"max_pool_ceil": True}, fold),
        "trained": ("efficientnet_lite0", {"train_batch_norm": True, "output_stride": 16}, unfold),
        "decoder": ("convnext_tiny", {"head": "deeplab_v3plus"}, fold),
        "gated": ("mobilenetv3_small", {}, fold),
        "smooth": ("efficientnetv2_b0", {}, fold),
    }
    found = set()
    for name, (backbone, options, how) in exports.items():
        network = deeplab.build(backbone, 3, backbone_weights="random", **options)
        folder = saved_model.save(network, THREE, tmp_path / name, options=how)
        operations.check(folder)
        found |= operations_of(folder)
        if name == "lite":
            network = saved_model.logits_network(network)
            keras_archive.write_keras(network, tmp_path / "model.keras")
            folder = tmp_path / "tuned"
            keras.saving.load_model(tmp_path / "model.keras").export(folder, verbose=False)
            operations.check(folder)
            found |= operations_of(folder) - operations._SAVING
    operations.check(exported)
    assert found == operations.COMPUTING


def read_file(image, path):
    return tf.strings.length(tf.io.read_file(path))


def write_file(image, path):
    with tf.control_dependencies([tf.io.write_file(path, "taken")]):
        return tf.size(image)


def in_a_branch(image, path):
    return tf.cond(
        tf.size(image) > 0, lambda: read_file(image, path), lambda: write_file(image, path)
    )


def in_a_loop(image, path):
    body = tf.function(lambda i: i + read_file(image, path))
    return tf.while_loop(lambda i: i < 3, lambda i: [body(i)], [tf.constant(0)])[0]


def python(image, path):
    return tf.numpy_function(lambda: np.int32(1), [], tf.int32)


def listing(image, path):
    return tf.size(tf.io.matching_files("/*"))


def data_set(image, path):
    lines = tf.data.TextLineDataset(path)
    return tf.cast(lines.reduce(tf.constant(0, tf.int64), lambda n, _: n + 1), tf.int32)


def printing(image, path):
    with tf.control_dependencies([tf.print("told")]):
        return tf.size(image)


def debugging(image, path):
    return tf.raw_ops.DebugIdentityV2(input=tf.size(image), debug_urls=["grpc://127.0.0.1:9"])


def saving(image, path):
    data = {"filename": path, "tensor_names": ["x"], "data": [tf.size(image)]}
    with tf.control_dependencies([tf.raw_ops.Save(**data)]):
        return tf.size(image)


def saving_again(image, path):
    """With an operation that exports have for themselves."""
    restored = tf.raw_ops.RestoreV2(
        prefix=path, tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.int32]
    )
    return restored[0]


HOSTILE = [read_file, write_file, in_a_branch, in_a_loop, python, listing, data_set, printing]
HOSTILE += [debugging, saving, saving_again]


@pytest.mark.parametrize("act", HOSTILE)
def test_graphs_that_reach_outside_are_refused_and_do_not_run(tmp_path, act):
    """With a card and checksums that fit, as whoever changes a model can write them."""
    taken = tmp_path / "taken"
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def serve(images):
        return {"class_map": act(images, str(taken))}

    signatures = dict.fromkeys(saved_model.SIGNATURES, serve)
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=signatures)
    shutil.copy(Path(__file__), tmp_path / "model" / "README.py")
    card = model_card.build(tiny_network.LABEL_MAP, {}, {}, {})
    saved_model.json_files.write(
        tmp_path / "model" / saved_model.LABEL_MAP_FILE, tiny_network.LABEL_MAP.to_json()
    )
    model_card.write(tmp_path / "model", card)
    with pytest.raises(saved_model.ServingError, match=r"holds the operation .*A SavedModel is a"):
        saved_model.load(tmp_path / "model")
    assert not taken.exists()


def test_objects_that_act_on_being_loaded_are_refused(tmp_path):
    (tmp_path / "words").write_text("a\nb\n")
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(tmp_path / "words"),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        -1,
    )
    tf.saved_model.save(module, str(tmp_path / "model"))
    with pytest.raises(OperationError, match="which no export does"):
        operations.check(tmp_path / "model")


def library(model):
    return model.meta_graphs[0].graph_def.library.function


def call_of_saving(model):
    """A signature that calls what writes checkpoints."""
    (target,) = [f.signature.name for f in library(model) if "traced_save" in f.signature.name]
    wrapper = next(f for f in library(model) if "signature_wrapper" in f.signature.name)
    (call,) = [node for node in wrapper.node_def if node.op == "StatefulPartitionedCall"]
    call.attr["f"].func.name = target


def restoring_as_a_signature(model):
    (target,) = [f.signature.name for f in library(model) if "traced_restore" in f.signature.name]
    model.meta_graphs[0].object_graph_def.concrete_functions[target].SetInParent()


def named_in_an_object(model):
    (target,) = [f.signature.name for f in library(model) if "traced_restore" in f.signature.name]
    objects = model.meta_graphs[0].object_graph_def.nodes
    bare = next(one for one in objects if one.HasField("bare_concrete_function"))
    bare.bare_concrete_function.concrete_function_name = target


def called_in_a_list(model):
    (target,) = [f.signature.name for f in library(model) if "traced_restore" in f.signature.name]
    node = library(model)[0].node_def[0]
    node.attr["branches"].list.func.add().name = target


def second_graph(model):
    model.meta_graphs.add().CopyFrom(model.meta_graphs[0])


def without_objects(model):
    """TensorFlow would load it as it did in version 1, and run its initialiser."""
    model.meta_graphs[0].ClearField("object_graph_def")


def outside_of_functions(model):
    model.meta_graphs[0].graph_def.node.add(name="x", op="ReadFile")


def missing_function(model):
    node = library(model)[0].node_def[0]
    node.attr["f"].func.name = "elsewhere"


def same_name(model):
    library(model).add().CopyFrom(library(model)[0])


def gradient(model):
    model.meta_graphs[0].graph_def.library.gradient.add(function_name="f", gradient_func="g")


def registered_gradient(model):
    model.meta_graphs[0].graph_def.library.registered_gradients.add(
        gradient_func="g", registered_op_type="Relu"
    )


def named_as_an_operation(model):
    """Where an operation is looked up, functions come first."""
    library(model).add().signature.name = "Relu"


def swapped_in(model):
    """Grappler calls another function of the same interface in its place."""
    saving = next(f for f in library(model) if "traced_save" in f.signature.name)
    serving = next(f for f in library(model) if "signature_wrapper" in f.signature.name)
    for function in (saving, serving):
        function.attr["api_implements"].s = b"same"


def variant(model):
    node = next(n for f in library(model) for n in f.node_def if n.op == "Const")
    node.attr["dtype"].type = types_pb2.DT_VARIANT


def called_in_a_branch(model):
    """Three functions deep, by an attribute of another name than usual."""
    (target,) = [f.signature.name for f in library(model) if "traced_restore" in f.signature.name]
    (loop,) = [n for f in library(model) for n in f.node_def if n.op == "While"]
    body = next(f for f in library(model) if f.signature.name == loop.attr["body"].func.name)
    body.node_def[0].attr["else"].func.name = target


def other_object(model):
    nodes = model.meta_graphs[0].object_graph_def.nodes
    next(
        n for n in nodes if n.WhichOneof("kind") == "user_object"
    ).user_object.identifier = "_tf_keras_layer"


def saver(model):
    model.meta_graphs[0].object_graph_def.nodes[0].registered_saver = "x"


def asset(model):
    model.meta_graphs[0].asset_file_def.add(filename="../../x")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (call_of_saving, "holds the operation"),
        (restoring_as_a_signature, "holds the operation"),
        (named_in_an_object, "holds the operation"),
        (called_in_a_list, "holds the operation"),
        (second_graph, "no SavedModel of TensorFlow 2"),
        (without_objects, "no SavedModel of TensorFlow 2"),
        (outside_of_functions, "'ReadFile'"),
        (missing_function, "'elsewhere', which it does not hold"),
        (same_name, "two functions of one name"),
        (gradient, "gradients"),
        (registered_gradient, "gradients"),
        (named_as_an_operation, "named as an operation"),
        (swapped_in, "'api_implements'"),
        (variant, "no number or text"),
        (called_in_a_branch, "holds the operation"),
        (other_object, "_tf_keras_layer"),
        (saver, "saves itself"),
        (asset, "assets"),
    ],
)
def test_exports_that_were_edited_are_refused(changed, edit, message):
    folder = changed(edit)
    with pytest.raises(OperationError, match=message):
        operations.check(folder)
    with pytest.raises(saved_model.ServingError):
        saved_model.load(folder)


@pytest.mark.parametrize("name", ["saved_model.cpb", "saved_model.pbtxt"])
def test_another_form_of_the_graph_beside_it_is_refused(changed, name):
    folder = changed(lambda model: None)
    operations.check(folder)
    (folder / name).write_bytes(b"")
    with pytest.raises(OperationError, match=name):
        operations.check(folder)


def test_damaged_and_huge_graphs_are_refused(changed):
    folder = changed(lambda model: None)
    graph = folder / operations.GRAPH_FILE
    graph.write_bytes(graph.read_bytes()[:-100])
    with pytest.raises(OperationError, match="damaged"):
        operations.check(folder)
    with open(graph, "wb") as file:
        file.truncate(operations.MOST_GRAPH_BYTES + 1)
    with pytest.raises(OperationError, match="more than"):
        operations.check(folder)


@pytest.mark.parametrize("name", ["../label_map.json", "/etc/hostname", "variables/../../x"])
def test_a_card_lists_files_of_its_folder_only(changed, name):
    folder = changed(lambda model: None)
    card = {"source": {}, "files": {name: {"bytes": 1, "sha256": ""}}}
    saved_model.json_files.write(folder / saved_model.MODEL_CARD_FILE, card)
    with pytest.raises(UserError, match=r"cannot be used below .*: it (is absolute|leads up)"):
        model_card.read(folder)


def test_the_card_says_that_a_model_is_a_program(exported):
    assert "Load only files whose origin you trust" in model_card.read(exported)["security"]


def test_the_http_example_checks_the_same(repository):
    ours, copy = (
        (repository / folder / "operations.py").read_bytes()
        for folder in ("c3tf/serving", "examples/serve_http")
    )
    assert copy == ours
