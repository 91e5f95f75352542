"""3x3 convolutions by Winograd's minimal filtering, where the caller asks for it and it pays.

    before:  %2 = conv2d(%0, %1, padding=(1, 1, 1, 1)) : f32[128,64,8,8]
    after:   %2 = pad(%0, low=(0, 0, 1, 1), high=(0, 0, 1, 1)) : f32[128,64,10,10]
             %3 = winograd_conv2d(%2, %1) : f32[128,64,8,8]

    before:  %3 = conv2d_backward_weight(%0, %1, weight_shape=(64, 64, 3, 3), padding=(1, 1, 1, 1)) : f32[64,64,3,3]
    after:   %2 = pad(%0, low=(0, 0, 1, 1), high=(0, 0, 1, 1)) : f32[128,64,10,10]
             %3 = winograd_weight_products(%2, %1, images=16) : f32[8,36,64,64]
             %4 = the sum over its parts, times a constant matrix : f32[64,64,3,3]

Backward-data becomes a convolution of the padded cotangent with the reversed kernel.
"""

from __future__ import annotations

from typing import Protocol

from ..ir import Graph, Node, apply, rewrite
from ..ops.contractions import Conv2dBackwardInput, Conv2dBackwardWeight
from ..ops.views import Pad, Reverse, Transpose
from ..ops.winograd import TAPS, WinogradConv2d, wants, weight_gradient


class WinogradChoice(Protocol):
    """What only the machine's side can tell."""

    def pays(self, node: Node) -> bool:
        """Whether this convolution (in any of its three directions) is faster by Winograd's algorithm."""

    def images_per_part(self, images: int, pairs: int) -> int:
        """How many images of a batch a weight gradient of `pairs` pairs of channels sums up at once."""


def winograd(graph: Graph, choice: WinogradChoice) -> Graph:
    """Replaces every convolution of the right kind, in any direction, for which `choice` says so."""

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        if not wants(node.op, [i.type for i in inputs]) or not choice.pays(node):
            return None
        top, bottom, left, right = node.op.padding  # type: ignore[attr-defined]
        if isinstance(node.op, Conv2dBackwardInput):
            edge = TAPS - 1
            cotangent = _padded(inputs[0], (edge - top, edge - bottom, edge - left, edge - right))
            reversed_kernel = apply(Transpose((1, 0, 2, 3)), apply(Reverse((2, 3)), inputs[1]))
            return apply(WinogradConv2d(), cotangent, reversed_kernel)
        image = _padded(inputs[0], (top, bottom, left, right))
        if isinstance(node.op, Conv2dBackwardWeight):
            pairs = image.shape[1] * inputs[1].shape[1]
            return weight_gradient(image, inputs[1], choice.images_per_part(image.shape[0], pairs))
        return apply(WinogradConv2d(), image, inputs[1])

    return rewrite(graph, rule)


def _padded(x: Node, padding: tuple[int, int, int, int]) -> Node:
    top, bottom, left, right = padding
    return apply(Pad((0, 0, top, left), (0, 0, bottom, right), (0, 0, 0, 0)), x) if any(padding) else x
