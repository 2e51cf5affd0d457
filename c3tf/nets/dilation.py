"""Dilation placed by a walk through a network's strides.

A classification network halves its maps five times. Where a later halving is undone, every
following layer has to read positions that lie further apart, so that the features on the denser
grid, looked at where the published network has one, are the published network's. The walk keeps
two numbers for each map, the published stride and ours in pixels of the image: their ratio is how
far apart the positions lie that belong together, and so the dilation of whatever reads them.

Squeeze-and-excitation is the exception: it takes the mean of a whole map, and the denser grid has
more to take it of.
"""

import dataclasses
from typing import Any, NamedTuple

import keras

from c3tf.nets import flat
from c3tf.nets.flat import IMAGE, BackboneError, Step

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
_POOLS = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)


class Grid(NamedTuple):
    """Pixels of the image per position of a map.

    Attributes:
        published: in the network as it was published.
        ours: in the dilated one.
    """

    published: int
    ours: int

    @property
    def dilation(self) -> int:
        """How many positions of ours make a step of the published network."""
        return self.published // self.ours


def dilated(steps: list[Step], output_stride: int) -> tuple[list[Step], dict[str, Grid]]:
    """Undoes the strides beyond an output stride.

    Args:
        steps: a published network.
        output_stride: pixels per feature at most.

    Returns:
        The same network with other strides, dilations and paddings; and the grid of every map,
        without those of one position.

    Raises:
        BackboneError: a layer cannot read positions that lie apart; the message names it.
    """
    readers = flat.readers(steps)
    result: dict[str, Step] = {}
    grids: dict[str, Grid | None] = {IMAGE: Grid(1, 1)}
    for step in steps:
        grid = _grid_of(step, grids)
        if step.kind is keras.layers.GlobalAveragePooling2D:
            grid = None
        elif step.kind in _CONVOLUTIONS + _POOLS and grid is not None:
            (source,) = step.inputs
            pad = result.get(source)
            if pad is None or pad.kind is not keras.layers.ZeroPadding2D:
                pad = None
            elif len(readers[source]) > 1:
                raise BackboneError(f"layer {source} pads for several layers")
            step, keeps_pad, grid = _placed(step, pad, grid, output_stride)
            if pad is not None and not keeps_pad:
                step = dataclasses.replace(step, inputs=pad.inputs)
                del result[source]
        result[step.name], grids[step.name] = step, grid
    return list(result.values()), {n: g for n, g in grids.items() if g is not None and n in result}


def with_stride_in_3x3(steps: list[Step]) -> list[Step]:
    """Moves each stride of a 1x1 convolution on to the 3x3 that follows in its block."""
    readers = flat.readers(steps)
    moved, result = {}, []
    for step in steps:
        if step.kind is not keras.layers.Conv2D or step.kernel != (1, 1) or step.stride == (1, 1):
            continue
        reader = step
        while len(readers[reader.name]) == 1 and reader.kind is not keras.layers.Add:
            (reader,) = readers[reader.name]
            if reader.kernel == (3, 3):
                moved[step.name], moved[reader.name] = (1, 1), step.stride
                break
    for step in steps:
        stride = moved.get(step.name)
        if stride is None or stride == (1, 1):
            result.append(step if stride is None else step.changed(strides=stride))
            continue
        # "same" would pad an even size on one side only, and shift what torchvision's weights saw.
        pad = {"padding": ((1, 1), (1, 1))}
        padded = f"{step.name}_pad"
        result.append(Step(padded, keras.layers.ZeroPadding2D, pad, step.inputs))
        changed = step.changed(strides=stride, padding="valid")
        result.append(dataclasses.replace(changed, inputs=(padded,)))
    return result


def _grid_of(step: Step, grids: dict[str, Grid | None]) -> Grid | None:
    """Returns the grid of what a step reads; a single position joins maps of any grid."""
    read = {grids[name] for name in step.inputs} - {None}
    if len(read) > 1:
        raise BackboneError(f"layer {step.name} reads maps of different strides")
    return read.pop() if read else None


def _placed(
    step: Step, pad: Step | None, grid: Grid, output_stride: int
) -> tuple[Step, bool, Grid]:
    """Sets the stride, the dilation and the padding of a layer that reads neighbours.

    Returns:
        The layer, whether the padding before it stays, and the grid of what it makes.
    """
    if step.kernel[0] != step.kernel[1] or step.stride[0] != step.stride[1]:
        raise BackboneError(f"layer {step.name} has an oblong kernel or stride")
    kernel, published = step.kernel[0], step.stride[0]
    after = Grid(grid.published * published, min(grid.published * published, output_stride))
    stride = after.ours // grid.ours
    if stride not in (1, published):
        raise BackboneError(
            f"layer {step.name} has stride {published}, which goes past {output_stride}"
        )
    changes: dict[str, Any] = {"strides": stride}
    if kernel == 1:
        return step.changed(**changes), True, after
    if step.kind in _CONVOLUTIONS:
        changes["dilation_rate"] = grid.dilation
    elif grid.dilation > 1:
        raise BackboneError(
            f"layer {step.name} ({step.kind.__name__}) cannot be dilated, as output stride "
            f"{output_stride} needs"
        )
    if step.config["padding"] == "same":
        return step.changed(**changes), True, after
    changes["padding"], keeps_pad = _padding(step, pad, kernel, published, stride)
    return step.changed(**changes), keeps_pad, after


def _padding(
    step: Step, pad: Step | None, kernel: int, published: int, stride: int
) -> tuple[str, bool]:
    """Chooses the padding of a layer that had none of its own, and whether that before it stays."""
    if pad is None:
        if published != kernel:
            raise BackboneError(
                f"layer {step.name} shrinks its map at the border, which cannot be dilated"
            )
        # Its blocks touch each other. An incomplete one at the far border is filled up, as the
        # last row and column of an odd map would be lost.
        return "same", True
    rows, columns = pad.config["padding"]
    if rows != columns:
        raise BackboneError(f"layer {pad.name} pads rows and columns differently")
    first, last = rows
    if first == last and kernel == 2 * first + 1:
        # Stays where maps are still halved: "same" would pad an even size on one side only, and
        # shift what the weights saw. And where zeros are padded for a maximum.
        stays = stride > 1 or step.kind in _POOLS
        return ("valid", True) if stays else ("same", False)
    if last == first + 1 and first + last == kernel - published:
        # Equal for even sizes and, unlike a pad chosen before the size is known, "same" keeps the
        # last row and column of odd ones.
        return "same", False
    raise BackboneError(f"layer {pad.name} pads other than for a kernel's centre")
