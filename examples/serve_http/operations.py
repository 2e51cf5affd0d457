"""The operations that an exported SavedModel may consist of: arithmetic on images and weights.

A SavedModel is a program, and TensorFlow runs whatever it says: some operations read and write
files, call back into Python, or open connections. This module reads the graph, before it is loaded,
and refuses every operation that neither our exports contain nor what Keras exports of a
`model.keras` that was trained further.

It needs TensorFlow alone; `examples/serve_http` holds a copy, which a test keeps equal.
"""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

GRAPH_FILE = "saved_model.pb"
# The graph of ResNet-101 has 5 MB; weights are not in it.
MOST_GRAPH_BYTES = 256 << 20

# What the signatures of exports consist of. None reaches outside the process.
COMPUTING = frozenset(
    (
        "AddV2",
        "All",
        "ArgMax",
        "Assert",
        "AvgPool",
        "BatchToSpaceND",
        "BiasAdd",
        "Cast",
        "ConcatV2",
        "Const",
        "Conv2D",
        "DecodeJpeg",
        "DepthwiseConv2dNative",
        "EnsureShape",
        "Equal",
        "Erfc",
        "ExpandDims",
        "FloorDiv",
        "FloorMod",
        "GatherV2",
        "Greater",
        "Identity",
        "IdentityN",
        "Less",
        "LogicalOr",
        "MaxPool",
        "Mean",
        "Minimum",
        "Mul",
        "Neg",
        "NoOp",
        "Pack",
        "Pad",
        "Range",
        "ReadVariableOp",
        "RealDiv",
        "Relu",
        "Relu6",
        "Reshape",
        "ResizeBilinear",
        "Rsqrt",
        "SelectV2",
        "Shape",
        "Sigmoid",
        "Size",
        "Softmax",
        "SpaceToBatchND",
        "SquaredDifference",
        "Squeeze",
        "StatefulPartitionedCall",
        "StopGradient",
        "StridedSlice",
        "Sub",
        "Substr",
        "TensorListReserve",
        "TensorListSetItem",
        "TensorListStack",
        "Tile",
        "While",
    )
)
# What `tf.saved_model.save` adds for its own saving and restoring of weights. Loading in
# TensorFlow 2 does not run it, so it may stand in the file, where nothing else can call it.
_SAVING = frozenset(
    (
        "AssignVariableOp",
        "DisableCopyOnRead",
        "MergeV2Checkpoints",
        "RestoreV2",
        "SaveV2",
        "Select",
        "ShardedFilename",
        "StaticRegexFullMatch",
        "StringJoin",
    )
)
# Notes that functions of exports carry. Others make TensorFlow run another function in its place
# (`api_implements`), or look up a gradient.
_NOTES = frozenset(("_construction_context", "_input_shapes"))
# Types of constants that are more than numbers and text.
_HANDLES = frozenset((types_pb2.DT_RESOURCE, types_pb2.DT_VARIANT))
# What stands outside of functions: the weights, their first values, and calls.
_OUTSIDE = frozenset(
    (
        "AssignVariableOp",
        "Const",
        "NoOp",
        "Placeholder",
        "ReadVariableOp",
        "StatefulPartitionedCall",
        "VarHandleOp",
        "VarIsInitializedOp",
    )
)
_OBJECTS = frozenset(("bare_concrete_function", "function", "user_object", "variable"))
# Kinds of Python objects that TensorFlow makes anew; others could be registered by a library.
_CONTAINERS = frozenset(
    (
        "_generic_user_object",
        "signature_map",
        "trackable_dict_wrapper",
        "trackable_list_wrapper",
    )
)
# Other forms of a graph, which some versions of TensorFlow may prefer.
_OTHER_FORMS = ("saved_model.cpb", "saved_model.pbtxt")
# What TensorFlow takes for a pattern of names, when it looks for the weights.
_PATTERN = frozenset("*?[]{}\\")


class OperationError(ValueError):
    """A SavedModel may do more than exported ones do; the message names what."""


def load(folder: str | os.PathLike) -> Any:
    """Loads the SavedModel in a folder, after checking it.

    Returns:
        What `tf.saved_model.load` returns.

    Raises:
        OperationError: as `check` says.
        OSError: it cannot be read.
        tf.errors.OpError: TensorFlow cannot load it.
    """
    check(folder)
    if not _PATTERN & set(os.fspath(folder)):
        return tf.saved_model.load(os.fspath(folder))
    with tempfile.TemporaryDirectory(prefix="c3tf-") as beside:
        plain = os.path.join(beside, "model")
        os.symlink(os.path.abspath(folder), plain)
        return tf.saved_model.load(plain)


def check(folder: str | os.PathLike) -> None:
    """Checks the SavedModel in a folder, without loading it.

    Raises:
        OperationError: it is no plain SavedModel of TensorFlow 2, or holds what exports do not.
        OSError: it cannot be read.
    """
    path = Path(folder) / GRAPH_FILE
    for other in _OTHER_FORMS:
        if path.with_name(other).exists():
            raise OperationError(f"it holds {other} beside {GRAPH_FILE}")
    if path.stat().st_size > MOST_GRAPH_BYTES:
        raise OperationError(f"{GRAPH_FILE} has more than {MOST_GRAPH_BYTES} bytes")
    try:
        model = SavedModel.FromString(path.read_bytes())
    except Exception as error:  # Of protobuf, which TensorFlow brings.
        raise OperationError(f"{GRAPH_FILE} is damaged") from error
    # With several graphs, or one that describes no objects, TensorFlow 1's way of loading is
    # taken, which runs parts of the graph at once.
    if len(model.meta_graphs) != 1 or not model.meta_graphs[0].HasField("object_graph_def"):
        raise OperationError(f"{GRAPH_FILE} is no SavedModel of TensorFlow 2")
    (graph,) = model.meta_graphs
    _check_objects(graph)
    _check_functions(graph)


def _check_objects(graph: MetaGraphDef) -> None:
    """Refuses objects that do something on being loaded, such as tables and assets."""
    for item in graph.object_graph_def.nodes:
        kind = item.WhichOneof("kind")
        name = item.user_object.identifier if kind == "user_object" else None
        if kind not in _OBJECTS or (name is not None and name not in _CONTAINERS):
            raise OperationError(
                f"it holds an object of the kind {_shown(name or str(kind))}, which no export does"
            )
        if item.saveable_objects or item.registered_saver:
            raise OperationError("it holds an object that saves itself, which no export does")
    if graph.asset_file_def:
        raise OperationError("it holds assets, which no export does")


def _check_functions(graph: MetaGraphDef) -> None:
    """Refuses operations that are not listed, and calls that are not seen through."""
    library = graph.graph_def.library
    bodies = {function.signature.name: function.node_def for function in library.function}
    if len(bodies) != len(library.function) or library.gradient or library.registered_gradients:
        raise OperationError("it holds two functions of one name, or gradients")
    # A function that is named as an operation could stand for it.
    if bodies.keys() & (COMPUTING | _SAVING | _OUTSIDE):
        raise OperationError("it holds a function that is named as an operation")
    _check_listed(graph.graph_def.node, COMPUTING | _OUTSIDE, "outside of functions")
    called = set(graph.object_graph_def.concrete_functions)
    called |= {
        item.bare_concrete_function.concrete_function_name
        for item in graph.object_graph_def.nodes
        if item.HasField("bare_concrete_function")
    }
    for item in graph.object_graph_def.nodes:
        if item.HasField("function"):
            called |= set(item.function.concrete_functions)
    for name, body in bodies.items():
        _check_listed(body, COMPUTING | _SAVING, name)
        called |= _called(body)
    for name in called:
        if name not in bodies:
            raise OperationError(f"it calls {_shown(name)}, which it does not hold")
        _check_listed(bodies[name], COMPUTING, name)
    for function in library.function:
        if notes := function.attr.keys() - _NOTES:
            raise OperationError(
                f"it holds a function with the note {_shown(min(notes))}, which no export does"
            )


def _check_listed(nodes: Iterable[NodeDef], allowed: frozenset[str], where: str) -> None:
    for node in nodes:
        if node.op not in allowed:
            raise OperationError(
                f"it holds the operation {_shown(node.op)} ({_shown(where)}), which no export does"
            )
        if node.op == "Const" and node.attr["dtype"].type in _HANDLES:
            raise OperationError("it holds a constant that is no number or text")


def _called(nodes: Iterable[NodeDef]) -> set[str]:
    """Names the functions that operations call: every attribute that is one, in lists too."""
    called = set()
    for node in nodes:
        for value in node.attr.values():
            listed = value.list.func if value.HasField("list") else ()
            functions = (*listed, value.func) if value.HasField("func") else listed
            called |= {function.name for function in functions}
    return called


def _shown(name: str) -> str:
    return ascii(name[:80])
