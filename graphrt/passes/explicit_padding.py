"""Convolutions without padded columns: what they read beside the image becomes a `Pad` of its own.

    before:  %2 = conv2d(%0, %1, padding=(1, 1, 1, 1)) : f32[8,16,32,32]
    after:   %2 = pad(%0, low=(0, 0, 0, 1), high=(0, 0, 0, 1)) : f32[8,16,32,34]
             %3 = conv2d(%2, %1, padding=(1, 1, 0, 0)) : f32[8,16,32,32]

Padded rows stay with the convolution, whose loop over the kernel's rows visits only the real ones.

Backward-data becomes a plain convolution of the padded cotangent with the reversed kernel (for strides: one with every
stride-th tap per remainder of the position, interleaved), so that one contraction strategy serves all directions
without tests inside its loops and without products with zeros between strides.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..ir import Graph, Literal, Node, apply, rewrite
from ..ops.contractions import Conv2d, Conv2dBackwardInput, Conv2dBackwardWeight
from ..ops.elementwise import Add
from ..ops.views import Broadcast, Constant, Pad, Reverse, Slice, Transpose

NONE = (0, 0, 0, 0)
PADDING_WASTE = 1.15  # products with padding over real products above which padding is not worth it


def explicit_padding(graph: Graph, whole_row: int = 0) -> Graph:
    """Moves padded columns out of every convolution. Grouped backward-data keeps its own, and so does backward-data of small
    images with rows of at most `whole_row` columns: there a register tile holds a whole row and visits real taps only.
    """
    return rewrite(graph, lambda node, inputs: _rule(node, inputs, whole_row))


def _rule(node: Node, inputs: tuple[Node, ...], whole_row: int) -> Node | None:
    op = node.op
    if isinstance(op, Conv2d | Conv2dBackwardWeight) and any(op.padding):
        top, bottom, left, right = op.padding
        if not (left or right):
            return None
        padded = apply(Pad((0, 0, 0, left), (0, 0, 0, right), NONE), inputs[0])
        return apply(replace(op, padding=(top, bottom, 0, 0)), padded, inputs[1])
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
    """Backward-data as convolutions of the cotangent: one for each remainder of an image position by the stride, since
    only every stride-th tap reaches such a position, put together by interleaving."""
    strides = (
        op.stride if op.dilation == (1, 1) else (1, 1)
    )  # dilated taps: zeros between the cotangents instead
    parts = [
        part
        for rows in range(strides[0])
        for columns in range(strides[1])
        if (part := _phase(op, dy, weight, strides, (rows, columns))) is not None
    ]
    if not parts:  # strides skip every pixel
        zero = Constant(Literal(np.zeros((), dy.dtype.numpy)))
        return apply(Broadcast(op.input_shape, ()), apply(zero))
    total = parts[0]
    for part in parts[1:]:
        total = apply(Add(), total, part)
    return total


def _phase(
    op: Conv2dBackwardInput, dy: Node, weight: Node, strides: tuple[int, int], phase: tuple[int, int]
) -> Node | None:
    """The image positions with these remainders, zero elsewhere; None where no tap or no position exists.

    Position s * a + r takes tap t = (r + padding) mod s + s * j from cotangent a + shift - j: a convolution with stride
    one of the cotangent with every s-th tap, reversed.
    """
    first_tap, low, high, inner_low, inner_high = [0, 0], [0, 0], [0, 0], [0, 0], [0, 0]
    for k in range(2):
        step, extent, kernel = strides[k], op.input_shape[2 + k], weight.shape[2 + k]
        count = len(range(phase[k], extent, step))
        spacing = op.stride[k] // step  # zeros between cotangents that phases do not take care of
        spread = (dy.shape[2 + k] - 1) * spacing + 1
        first_tap[k] = (phase[k] + op.padding[2 * k]) % step
        taps = len(range(first_tap[k], kernel, step))
        if not count or not taps:
            return None
        reach = (taps - 1) * op.dilation[k]
        shift = (phase[k] + op.padding[2 * k] - first_tap[k]) // step
        low[k] = reach - shift
        high[k] = count - 1 + shift - (spread - 1)
        inner_low[k], inner_high[k] = phase[k], extent - (phase[k] + (count - 1) * step + 1)
    between = [op.stride[k] // strides[k] - 1 for k in range(2)]
    rows = NONE
    if (
        low[0] >= 0 and high[0] >= 0 and not any(between)
    ):  # rows of padding are never visited: no need to make them
        rows = (low[0], high[0], 0, 0)
        low[0] = high[0] = 0
    wide = _with_edges(dy, low, high, between)
    kernel_shape = weight.shape
    if strides != (1, 1):
        start, steps = (0, 0, *first_tap), (1, 1, *strides)
        weight = apply(Slice(start, kernel_shape, steps), weight)
    flipped = apply(Transpose((1, 0, 2, 3)), apply(Reverse((2, 3)), weight))
    part = apply(Conv2d(stride=(1, 1), padding=rows, dilation=op.dilation), wide, flipped)
    if strides == (1, 1):
        return part
    gaps = (0, 0, strides[0] - 1, strides[1] - 1)
    return apply(Pad((0, 0, *inner_low), (0, 0, *inner_high), gaps), part)


def _with_edges(x: Node, low: list[int], high: list[int], gaps: list[int]) -> Node:
    """x with zeros before and after its last two axes (cut off where negative) and between its elements."""
    before, after = [max(v, 0) for v in low], [max(v, 0) for v in high]
    if any(before + after + gaps):
        x = apply(Pad((0, 0, *before), (0, 0, *after), (0, 0, *gaps)), x)
    if min(low + high) < 0:  # the outermost cotangents touch no pixel
        start = (0, 0, max(-low[0], 0), max(-low[1], 0))
        stop = tuple(e - max(-h, 0) for e, h in zip(x.shape, (0, 0, *high)))
        x = apply(Slice(start, stop, (1, 1, 1, 1)), x)
    return x
