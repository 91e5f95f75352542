"""Convolutions without padding: what they read outside the image becomes a `Pad` of its own.

    before:  %2 = conv2d(%0, %1, padding=(1, 1, 1, 1)) : f32[8,16,32,32]
    after:   %2 = pad(%0, low=(0, 0, 1, 1), high=(0, 0, 1, 1)) : f32[8,16,34,34]
             %3 = conv2d(%2, %1) : f32[8,16,32,32]

Backward-data becomes a plain convolution of the padded (and for strides interleaved with zeros) cotangent with the
reversed kernel, so that one contraction strategy serves all directions without tests inside its loops.
"""

from __future__ import annotations

from dataclasses import replace

from ..ir import Graph, Node, apply, rewrite
from ..ops.contractions import Conv2d, Conv2dBackwardInput, Conv2dBackwardWeight
from ..ops.views import Pad, Reverse, Slice, Transpose

NONE = (0, 0, 0, 0)
PADDING_WASTE = 1.15  # products with padding over real products above which padding is not worth it


def explicit_padding(graph: Graph, whole_row: int = 0) -> Graph:
    """Moves padding out of every convolution. Grouped backward-data keeps its own, and so does backward-data of small
    images with rows of at most `whole_row` columns: there a register tile holds a whole row and visits real taps only.
    """
    return rewrite(graph, lambda node, inputs: _rule(node, inputs, whole_row))


def _rule(node: Node, inputs: tuple[Node, ...], whole_row: int) -> Node | None:
    op = node.op
    if isinstance(op, Conv2d | Conv2dBackwardWeight) and any(op.padding):
        top, bottom, left, right = op.padding
        padded = apply(Pad((0, 0, top, left), (0, 0, bottom, right), NONE), inputs[0])
        return apply(replace(op, padding=NONE), padded, inputs[1])
    if (
        isinstance(op, Conv2dBackwardInput)
        and op.groups == 1
        and not _only_real_taps(op, inputs[0], inputs[1], whole_row)
    ):
        return _as_convolution(op, *inputs)
    return None


def _only_real_taps(op: Conv2dBackwardInput, dy: Node, weight: Node, whole_row: int) -> bool:
    """Whether the contraction should visit real taps only instead of multiplying padding: for small images with large
    kernels, where a register tile covers a whole row and padding would add a good part of the work."""
    rows, columns = op.input_shape[2:]
    waste = rows * columns / (dy.shape[2] * dy.shape[3])
    return op.stride == (1, 1) and columns <= whole_row and waste > PADDING_WASTE and weight.shape[3] <= 8


def _as_convolution(op: Conv2dBackwardInput, dy: Node, weight: Node) -> Node:
    kernel = weight.shape[2:]
    low, high = [0, 0], [0, 0]
    for k in range(2):
        reach = (kernel[k] - 1) * op.dilation[k]
        spread = (dy.shape[2 + k] - 1) * op.stride[k] + 1
        low[k] = reach - op.padding[2 * k]
        # Enough rows that the valid convolution has exactly the image's extent.
        high[k] = op.input_shape[2 + k] + reach - low[k] - spread
    interior = (0, 0, op.stride[0] - 1, op.stride[1] - 1)
    wide = apply(
        Pad((0, 0, max(low[0], 0), max(low[1], 0)), (0, 0, max(high[0], 0), max(high[1], 0)), interior), dy
    )
    if min(low + high) < 0:  # padding larger than the kernel's reach: the outermost cotangents touch no pixel
        start = (0, 0, max(-low[0], 0), max(-low[1], 0))
        stop = tuple(e - max(-h, 0) for e, h in zip(wide.shape, (0, 0, *high)))
        wide = apply(Slice(start, stop, (1, 1, 1, 1)), wide)
    flipped = apply(Transpose((1, 0, 2, 3)), apply(Reverse((2, 3)), weight))
    return apply(Conv2d(stride=(1, 1), padding=NONE, dilation=op.dilation), wide, flipped)
