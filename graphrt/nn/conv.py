"""Two-dimensional convolution and pooling layers.

In: tensors (N, channels, height, width). Out: tensors (N, channels, height, width).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..dtypes import as_dtype
from ..errors import ArgumentError, ShapeError
from ..frontend import functional as ops
from ..frontend.cell import Cell
from ..frontend.padding import check_pad_mode, four_sides, same_padding
from ..frontend.tensor import Tensor
from .dense import check_floating, here, positive_int, weight_and_bias

Pair = int | tuple[int, int]


def pair(layer: str, name: str, value: object) -> tuple[int, int]:
    """`value` as (vertical, horizontal), both positive."""
    both = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, Sequence) else ()
    if len(both) == 4 and tuple(both[:2]) == (1, 1):  # the (1, 1, vertical, horizontal) spelling
        both = both[2:]
    if len(both) != 2:
        raise ArgumentError(f"{layer}: {name} must be an int or 2 ints", **here(), given=f"{name}={value!r}")
    positive_int(layer, **{name: both[0]})
    positive_int(layer, **{name: both[1]})
    return int(both[0]), int(both[1])


def check_images(layer: str, x: Tensor, channels: int | None) -> None:
    """Raise a graphrt error unless `x` is float[N, channels, H, W]."""
    expected = f"float32[N, {'C' if channels is None else channels}, H, W]"
    if x.ndim != 4:
        missing = {
            2: "give the images their axes: x.reshape(N, C, H, W)",
            3: "add the channel axis: ops.expand_dims(x, 1), or the batch axis: ops.expand_dims(x, 0)",
        }
        raise ShapeError(
            f"{layer}: the input must have 4 axes", **here(), expected=expected, given=x.type.describe(),
            fix=missing.get(x.ndim),
        )  # fmt: skip
    if channels is not None and x.shape[1] != channels:
        fix = "move the channels first: x.transpose(0, 3, 1, 2)" if x.shape[3] == channels else None
        raise ShapeError(
            f"{layer}: the input has another number of channels", **here(), expected=expected,
            given=x.type.describe(), fix=fix or f"write nn.{layer}({x.shape[1]}, ...), or change the layer before it",
        )  # fmt: skip
    check_floating(layer, x, expected)


def check_groups(layer: str, in_channels: int, out_channels: int, group: int) -> None:
    """Raise ArgumentError unless all three are positive ints and `group` divides both numbers of channels."""
    positive_int(layer, in_channels=in_channels, out_channels=out_channels, group=group)
    if in_channels % group or out_channels % group:
        raise ArgumentError(
            f"{layer}: group must divide in_channels and out_channels", **here(),
            given=f"in_channels={in_channels}, out_channels={out_channels}, group={group}",
        )  # fmt: skip


class Conv2d(Cell):
    """2-d convolution (cross-correlation) of (N, in_channels, H, W) with `weight` (out, in / group, kernel...).

    `pad_mode`: "same" (output ceil(size / stride)), "valid" (no padding) or "pad" (`padding`: an int, or top, bottom,
    left, right). Weights are U(-1/sqrt(fan_in), 1/sqrt(fan_in)) by default, the bias too.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        pad_mode: str = "same",
        padding: int | tuple[int, int, int, int] = 0,
        dilation: Pair = 1,
        group: int = 1,
        has_bias: bool = False,
        weight_init: object = None,
        bias_init: object = None,
        data_format: str = "NCHW",
        dtype: object = "float32",
    ):
        super().__init__()
        check_groups("Conv2d", in_channels, out_channels, group)
        if data_format != "NCHW":
            raise ArgumentError(
                "Conv2d: unknown data_format", **here(), expected="'NCHW'", given=repr(data_format)
            )
        self.in_channels, self.out_channels, self.group = int(in_channels), int(out_channels), int(group)
        self.kernel_size = pair("Conv2d", "kernel_size", kernel_size)
        self.stride, self.dilation = pair("Conv2d", "stride", stride), pair("Conv2d", "dilation", dilation)
        self.padding = four_sides("Conv2d", padding)
        self.pad_mode = check_pad_mode("Conv2d", pad_mode, self.padding, ("same", "valid", "pad"))
        self.has_bias = bool(has_bias)
        shape = (self.out_channels, self.in_channels // self.group, *self.kernel_size)
        self.weight, self.bias = weight_and_bias(
            weight_init, bias_init, shape, self.out_channels, self.has_bias, as_dtype(dtype)
        )

    def construct(self, x: Tensor) -> Tensor:
        check_images("Conv2d", x, self.in_channels)
        padding = self.padding
        if self.pad_mode == "same":
            padding = same_padding(x.shape[2:], self.kernel_size, self.stride, self.dilation)
        return ops._conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.group)

    def extend_repr(self) -> str:
        return (
            f"input_channels={self.in_channels}, output_channels={self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, pad_mode={self.pad_mode}, padding={self.padding}, dilation={self.dilation}, "
            f"group={self.group}, has_bias={self.has_bias}"
        )


class _Pool2d(Cell):
    def _set(
        self, kernel_size: Pair, stride: Pair, pad_mode: str, padding: Any, ceil_mode: bool, data_format: str
    ) -> None:
        layer = type(self).__name__
        if data_format != "NCHW":
            raise ArgumentError(
                f"{layer}: unknown data_format", **here(), expected="'NCHW'", given=repr(data_format)
            )
        if ceil_mode:
            raise ArgumentError(
                f"{layer}: ceil_mode is not supported",
                **here(),
                fix="write pad_mode='same' or give the padding",
            )
        self.kernel_size, self.stride = pair(layer, "kernel_size", kernel_size), pair(layer, "stride", stride)
        both = isinstance(padding, Sequence) and len(padding) == 2
        self.padding = four_sides(layer, (padding[0],) * 2 + (padding[1],) * 2 if both else padding)
        self.pad_mode = check_pad_mode(layer, pad_mode, self.padding, ("valid", "same", "pad"))
        if any(
            side > k // 2 for side, k in zip(self.padding, (k for k in self.kernel_size for _ in range(2)))
        ):
            raise ArgumentError(
                f"{layer}: padding is larger than half the window", **here(),
                expected=f"at most {tuple(k // 2 for k in self.kernel_size)}", given=f"padding={padding!r}",
            )  # fmt: skip

    def _sides(self, x: Tensor) -> tuple[int, int, int, int]:
        layer = type(self).__name__
        check_images(layer, x, None)
        if self.pad_mode == "same":
            return same_padding(x.shape[2:], self.kernel_size, self.stride)
        padded = (x.shape[2] + sum(self.padding[:2]), x.shape[3] + sum(self.padding[2:]))
        if any(extent < k for extent, k in zip(padded, self.kernel_size)):
            raise ShapeError(
                f"{layer}: the window is larger than the image", **here(),
                expected=f"height and width of at least {self.kernel_size}", given=x.type.describe(),
            )  # fmt: skip
        return self.padding

    def extend_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, pad_mode={self.pad_mode}"


class MaxPool2d(_Pool2d):
    """The largest value of each window. `pad_mode`: "valid", "same" or "pad" (`padding`: an int, (vertical, horizontal),
    or top, bottom, left, right); padding never wins. Raises ArgumentError for dilation, ceil_mode and return_indices."""

    def __init__(
        self,
        kernel_size: Pair = 1,
        stride: Pair = 1,
        pad_mode: str = "valid",
        padding: int | Sequence[int] = 0,
        dilation: Pair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
        data_format: str = "NCHW",
    ):
        super().__init__()
        if pair("MaxPool2d", "dilation", dilation) != (1, 1) or return_indices:
            raise ArgumentError(
                "MaxPool2d: dilation and return_indices are not supported", **here(),
                given=f"dilation={dilation!r}, return_indices={return_indices!r}",
            )  # fmt: skip
        self._set(kernel_size, stride, pad_mode, padding, ceil_mode, data_format)

    def construct(self, x: Tensor) -> Tensor:
        return ops.max_pool2d(x, self.kernel_size, self.stride, self._sides(x))


class AvgPool2d(_Pool2d):
    """The mean of each window. `pad_mode`: "valid", "same" (padding does not count) or "pad" (`padding`: an int,
    (vertical, horizontal), or top, bottom, left, right; it counts as zeros if `count_include_pad`). Raises ArgumentError
    for ceil_mode and divisor_override."""

    def __init__(
        self,
        kernel_size: Pair = 1,
        stride: Pair = 1,
        pad_mode: str = "valid",
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
        data_format: str = "NCHW",
    ):
        super().__init__()
        if divisor_override is not None:
            raise ArgumentError(
                "AvgPool2d: divisor_override is not supported", **here(), given=repr(divisor_override)
            )
        self._set(kernel_size, stride, pad_mode, padding, ceil_mode, data_format)
        self.count_include_pad = bool(count_include_pad)

    def construct(self, x: Tensor) -> Tensor:
        counts = self.count_include_pad and self.pad_mode == "pad"
        return ops.avg_pool2d(x, self.kernel_size, self.stride, self._sides(x), count_include_pad=counts)
