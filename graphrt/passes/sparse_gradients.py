"""Gradients of max-pool stay one value per window for as long as possible.

Masks go below the scattering (`pooled_masks`; the image of gradients then has no reader but convolutions):

    before:  %4 = window_scatter(%g, %position) : f32[32,6,28,28]
             %5 = select(greater(%relu, 0), %4, 0) : f32[32,6,28,28]
    after:   %4 = select(greater(window_gather(%relu, %position), 0), %g, 0) : f32[32,6,14,14]
             %5 = window_scatter(%4, %position) : f32[32,6,28,28]

and weight gradients take their sums over windows instead of pixels (`window_sums`):

    before:  %6 = conv2d_backward_weight(%x, %5) : f32[6,1,5,5]
    after:   %6 = window_patch_sum(window_patches(%x, %position), %4) : f32[6,1,5,5]

and so do gradients of images (`window_taps`):

    before:  %7 = conv2d_backward_input(%5, %w) : f32[32,1,32,32]
    after:   %7 = chosen_tap_sum(chosen_taps(tap_rows(%w), tap_starts(%position)), %4) : f32[32,1,32,32]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..ir import Graph, Node, TensorType, apply, rewrite
from ..ops import elementwise as e
from ..ops.contractions import Conv2dBackwardInput, Conv2dBackwardWeight
from ..ops.patches import WindowPatches, WindowPatchSum
from ..ops.taps import ChosenTaps, ChosenTapSum, TapRows, TapStarts
from ..ops.views import Broadcast, Pad, Slice
from ..ops.windows import WindowGather, WindowScatter
from .constants import uniform, uniform_value

COMPARISONS = (e.Equal, e.NotEqual, e.Less, e.LessEqual, e.Greater, e.GreaterEqual)
NONE = (0, 0, 0, 0)


def pooled_masks(graph: Graph) -> Graph:
    """select(condition, window_scatter(g, position), 0), either way round, becomes window_scatter(select(..., g, 0),
    position), where the condition compares numbers of the image: it is decided at the position alone, since all else is
    zero anyway. The results are the same to the bit."""

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        if not isinstance(node.op, e.Select):
            return None
        condition, x, y = inputs
        kept, other = (x, y) if isinstance(x.op, WindowScatter) else (y, x)
        zero = uniform_value(other)
        if not isinstance(kept.op, WindowScatter) or zero is None or zero.tobytes().strip(b"\0"):
            return None
        gradient, position = kept.inputs
        at_position = _gathered(condition, kept.op, position)
        if at_position is None:
            return None
        nothing = uniform(gradient.type, 0)
        masked = (gradient, nothing) if kept is x else (nothing, gradient)
        return apply(kept.op, apply(e.Select(), at_position, *masked), position)

    return rewrite(graph, rule)


def _gathered(condition: Node, scatter: WindowScatter, position: Node) -> Node | None:
    """The condition at the position of every window, if it compares images with numbers or with each other."""
    if not isinstance(condition.op, COMPARISONS):
        return None
    gather = WindowGather(scatter.window, scatter.strides, scatter.padding)
    operands = []
    for operand in condition.inputs:
        number = uniform_value(operand)
        if number is not None:
            operands.append(uniform(replace(operand.type, shape=position.shape), number.item()))
        elif operand.dtype.kind == "bool" or isinstance(operand.op, Broadcast):
            return None
        else:
            operands.append(apply(gather, operand, position))
    return apply(condition.op, *operands)


def window_sums(graph: Graph, worthwhile: Callable[[WindowPatches, TensorType], bool]) -> Graph:
    """Weight gradients of convolutions (no strides, dilation, groups or padded columns of their own) whose cotangent is
    scattered from windows without padding. `worthwhile` decides, from the patches and the type of the image, whether
    selecting costs less than multiplying zeros."""

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        op = node.op
        if not isinstance(op, Conv2dBackwardWeight) or not isinstance(inputs[1].op, WindowScatter):
            return None
        scatter = inputs[1].op
        top, bottom, *columns = op.padding
        plain = replace(op, padding=NONE) == Conv2dBackwardWeight(op.weight_shape) and not any(columns)
        if not plain or scatter.padding != NONE or not node.dtype.is_float:
            return None
        gradient, position = inputs[1].inputs
        kernel = (op.weight_shape[2], op.weight_shape[3])
        patches = WindowPatches(scatter.window, scatter.strides, kernel)
        image = _with_rows(inputs[0], top, bottom)
        if not worthwhile(patches, image.type):
            return None
        return apply(WindowPatchSum(), apply(patches, image, position), gradient)

    return rewrite(graph, rule)


def window_taps(graph: Graph, lanes: int, worthwhile: Callable[[ChosenTaps, int], bool]) -> Graph:
    """Gradients of the images of convolutions (no strides, dilation or groups) whose cotangent is scattered from windows
    without padding. `lanes`: elements of a vector, in which the weights are looked up; `worthwhile` decides, from the
    taps and the number of samples, whether that costs less than multiplying zeros."""

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        op = node.op
        if not isinstance(op, Conv2dBackwardInput) or not isinstance(inputs[0].op, WindowScatter):
            return None
        scatter, weight = inputs[0].op, inputs[1]
        plain = replace(op, padding=NONE) == Conv2dBackwardInput(op.input_shape)
        if not plain or scatter.padding != NONE or not node.dtype.is_float:
            return None
        gradient, position = inputs[0].inputs
        taps = ChosenTaps(scatter.window, scatter.strides, (weight.shape[2], weight.shape[3]))
        if not worthwhile(taps, node.shape[0]):
            return None
        width = max(lanes, taps.section * taps.window[0])
        rows = apply(TapRows(taps.window, taps.patch[0], taps.section, width), weight)
        starts = apply(TapStarts(taps.window[1], taps.section), position)
        image = apply(ChosenTapSum(taps.strides), apply(taps, rows, starts), gradient)
        return _part(image, (op.padding[0], op.padding[2]), op.input_shape)

    return rewrite(graph, rule)


def _part(image: Node, first: tuple[int, int], shape: tuple[int, ...]) -> Node:
    """The rows and columns of the image from `first` on, as many as `shape` has; zeros beyond its end."""
    start = (0, 0, *first)
    end = tuple(min(extent, begin + wanted) for extent, begin, wanted in zip(image.shape, start, shape))
    if any(start) or end != image.shape:
        image = apply(Slice(start, end, (1,) * len(end)), image)
    if image.shape != shape:
        high = tuple(wanted - extent for extent, wanted in zip(image.shape, shape))
        image = apply(Pad((0,) * len(high), high, (0,) * len(high)), image)
    return image


def _with_rows(image: Node, top: int, bottom: int) -> Node:
    """The image with rows of zeros; one `Pad` where its columns are padded already."""
    if not (top or bottom):
        return image
    low: tuple[int, ...] = (0, 0, top, 0)
    high: tuple[int, ...] = (0, 0, bottom, 0)
    if isinstance(image.op, Pad) and not any(image.op.interior) and image.op.value == 0:
        low = tuple(a + b for a, b in zip(low, image.op.low))
        high = tuple(a + b for a, b in zip(high, image.op.high))
        image = image.inputs[0]
    return apply(Pad(low, high, (0,) * len(low)), image)
