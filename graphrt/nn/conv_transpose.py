"""Transposed convolution: the map that a convolution's gradient takes from output images to input images.

In: tensors (N, in_channels, height, width). Out: tensors (N, out_channels, height, width), larger by the stride.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..dtypes import as_dtype
from ..errors import ArgumentError
from ..frontend.cell import Cell
from ..frontend.lift import lift
from ..frontend.padding import Four, check_pad_mode, four_sides, same_padding
from ..frontend.tensor import Tensor
from ..ir import Node, apply
from ..ops import build
from ..ops.contractions import Conv2dBackwardInput
from .conv import Pair, check_groups, check_images, pair
from .dense import here, weight_and_bias


@lift
def conv2d_transpose(
    x: Node,
    weight: Node,
    bias: Node | None,
    size: Sequence[int],
    stride: tuple[int, int],
    padding: Four,
    dilation: tuple[int, int],
    groups: int,
) -> Node:
    """x (N, I, h, w) with weight (I, O / groups, KH, KW) and bias (O,) -> (N, O, *size), `size` being image extents for
    which the convolution with these settings gives (h, w)."""
    x, weight = build.promoted(x, weight, floating=True)
    shape = (x.shape[0], weight.shape[1] * groups, *size)
    y = apply(Conv2dBackwardInput(shape, stride, padding, dilation, groups), x, weight)
    return y if bias is None else build.add(y, build.reshape(build.cast(bias, y.dtype), (1, -1, 1, 1)))


class Conv2dTranspose(Cell):
    """Transposed 2-d convolution of (N, in_channels, H, W) with `weight` (in_channels, out_channels / group, kernel...).

    `pad_mode`: "same" (output size * stride), "valid" (size * stride + max(window - stride, 0)) or "pad": (size - 1) *
    stride + window - padding + output_padding, with `padding` an int or top, bottom, left, right, and a window of
    dilation * (kernel - 1) + 1. Weights are U(-1/sqrt(fan), 1/sqrt(fan)) with fan = out_channels / group * kernel area
    by default, the bias too.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        pad_mode: str = "same",
        padding: int | tuple[int, int, int, int] = 0,
        output_padding: int | tuple[int, int] = 0,
        dilation: Pair = 1,
        group: int = 1,
        has_bias: bool = False,
        weight_init: object = None,
        bias_init: object = None,
        dtype: object = "float32",
    ):
        super().__init__()
        layer = "Conv2dTranspose"
        check_groups(layer, in_channels, out_channels, group)
        self.in_channels, self.out_channels, self.group = int(in_channels), int(out_channels), int(group)
        self.kernel_size = pair(layer, "kernel_size", kernel_size)
        self.stride, self.dilation = pair(layer, "stride", stride), pair(layer, "dilation", dilation)
        self.padding = four_sides(layer, padding)
        self.pad_mode = check_pad_mode(layer, pad_mode, self.padding, ("same", "valid", "pad"))
        extra = (output_padding,) * 2 if isinstance(output_padding, int) else tuple(output_padding)
        steps = tuple(max(s, d) for s, d in zip(self.stride, self.dilation))
        if (
            len(extra) != 2
            or any(not 0 <= e < s for e, s in zip(extra, steps))
            or (any(extra) and pad_mode != "pad")
        ):
            raise ArgumentError(
                f"{layer}: output_padding must be smaller than stride or dilation, and needs pad_mode='pad'", **here(),
                given=f"output_padding={output_padding!r}, pad_mode={pad_mode!r}",
            )  # fmt: skip
        self.output_padding = extra
        self.has_bias = bool(has_bias)
        shape = (self.in_channels, self.out_channels // self.group, *self.kernel_size)
        self.weight, self.bias = weight_and_bias(
            weight_init, bias_init, shape, self.out_channels, self.has_bias, as_dtype(dtype)
        )

    def construct(self, x: Tensor) -> Tensor:
        check_images("Conv2dTranspose", x, self.in_channels)
        windows = [d * (k - 1) + 1 for k, d in zip(self.kernel_size, self.dilation)]
        extents = zip(x.shape[2:], self.stride, windows)
        padding = self.padding
        if self.pad_mode == "same":
            size = [extent * s for extent, s, _ in extents]
            padding = same_padding(size, self.kernel_size, self.stride, self.dilation)
        elif self.pad_mode == "valid":
            size = [extent * s + max(window - s, 0) for extent, s, window in extents]
        else:
            cut = (padding[0] + padding[1], padding[2] + padding[3])
            size = [
                (extent - 1) * s + window - c + more
                for (extent, s, window), c, more in zip(extents, cut, self.output_padding)
            ]
        return conv2d_transpose(
            x, self.weight, self.bias, size, self.stride, padding, self.dilation, self.group
        )

    def extend_repr(self) -> str:
        return (
            f"input_channels={self.in_channels}, output_channels={self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, pad_mode={self.pad_mode}, padding={self.padding}, "
            f"output_padding={self.output_padding}, dilation={self.dilation}, group={self.group}, has_bias={self.has_bias}"
        )
