"""One-dimensional convolution and pooling: images of height one.

In: tensors (N, channels, length). Out: tensors (N, channels, length).
"""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError, ShapeError
from ..frontend import functional as ops
from ..frontend.cell import Cell
from ..frontend.tensor import Tensor
from .conv import AvgPool2d, Conv2d, MaxPool2d
from .dense import here, positive_int


def check_sequences(layer: str, x: Tensor, channels: int | None) -> None:
    """Raise ShapeError unless `x` is (N, channels, L)."""
    if x.ndim != 3 or (channels is not None and x.shape[1] != channels):
        raise ShapeError(
            f"{layer}: the input must hold sequences", **here(),
            expected=f"float32[N, {'C' if channels is None else channels}, L]", given=x.type.describe(),
            fix="add the batch axis: ops.expand_dims(x, 0)" if x.ndim == 2 else None,
        )  # fmt: skip


def _two_sides(layer: str, padding: Any) -> tuple[int, int, int, int]:
    both = (padding, padding) if isinstance(padding, int) else tuple(padding) if padding else ()
    if len(both) == 1:
        both = both * 2
    if len(both) != 2 or any(isinstance(p, bool) or not isinstance(p, int) or p < 0 for p in both):
        raise ArgumentError(
            f"{layer}: padding must be an int >= 0 or 2 of them", **here(), expected="left, right", given=repr(padding)
        )  # fmt: skip
    return 0, 0, both[0], both[1]


class Conv1d(Conv2d):
    """1-d convolution (cross-correlation) of (N, in_channels, L) with `weight` (out, in / group, 1, kernel_size).

    `pad_mode`: "same" (output ceil(L / stride)), "valid" (no padding) or "pad" (`padding`: an int, or left, right).
    Weights are U(-1/sqrt(fan_in), 1/sqrt(fan_in)) by default, the bias too.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        pad_mode: str = "same",
        padding: int | tuple[int, int] = 0,
        dilation: int = 1,
        group: int = 1,
        has_bias: bool = False,
        weight_init: object = None,
        bias_init: object = None,
        dtype: object = "float32",
    ):
        positive_int("Conv1d", kernel_size=kernel_size, stride=stride, dilation=dilation)
        super().__init__(
            in_channels, out_channels, (1, int(kernel_size)), (1, int(stride)), pad_mode, _two_sides("Conv1d", padding),
            (1, int(dilation)), group, has_bias, weight_init, bias_init, dtype=dtype,
        )  # fmt: skip

    def construct(self, x: Tensor) -> Tensor:
        check_sequences("Conv1d", x, self.in_channels)
        return ops.squeeze(super().construct(ops.expand_dims(x, 2)), 2)


class _Pool1d(Cell):
    """A pool of two dimensions over sequences as images of height one."""

    pool: MaxPool2d | AvgPool2d

    def _keep(self, kernel_size: int, stride: int, pad_mode: str) -> None:
        self.kernel_size, self.stride, self.pad_mode = int(kernel_size), int(stride), pad_mode

    def construct(self, x: Tensor) -> Tensor:
        check_sequences(type(self).__name__, x, None)
        return ops.squeeze(self.pool(ops.expand_dims(x, 2)), 2)

    def extend_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, pad_mode={self.pad_mode}"


class MaxPool1d(_Pool1d):
    """The largest value of each window of (N, C, L). The arguments are those of `MaxPool2d` for one axis.
    Raises ArgumentError for `ceil_mode`, `return_indices` and `dilation`."""

    def __init__(
        self,
        kernel_size: int = 1,
        stride: int = 1,
        pad_mode: str = "valid",
        padding: int | tuple[int, int] = 0,
        dilation: int = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        super().__init__()
        positive_int("MaxPool1d", kernel_size=kernel_size, stride=stride)
        sides = _two_sides("MaxPool1d", padding)
        self._keep(kernel_size, stride, pad_mode)
        self.pool = MaxPool2d(
            (1, kernel_size), (1, stride), pad_mode, sides, (1, dilation), return_indices, ceil_mode
        )


class AvgPool1d(_Pool1d):
    """The mean of each window of (N, C, L). The arguments are those of `AvgPool2d` for one axis. Raises
    ArgumentError for `ceil_mode`; padding counts as zeros if `count_include_pad`."""

    def __init__(
        self,
        kernel_size: int = 1,
        stride: int = 1,
        pad_mode: str = "valid",
        padding: int | tuple[int, int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        super().__init__()
        positive_int("AvgPool1d", kernel_size=kernel_size, stride=stride)
        sides = _two_sides("AvgPool1d", padding)
        self._keep(kernel_size, stride, pad_mode)
        self.pool = AvgPool2d((1, kernel_size), (1, stride), pad_mode, sides, ceil_mode, count_include_pad)
