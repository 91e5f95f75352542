"""Sums of products: batched matrix multiplication and 2-d convolution in all three directions.

Every op describes itself as one `Contraction` of two affine reads, from which native code is generated, and
has a NumPy rule that goes through im2col and a matrix product. Images are NCHW, weights OIHW, padding is
(top, bottom, left, right).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..dtypes import as_dtype
from ..errors import ArgumentError, DTypeError, ShapeError
from ..ir import Node, TensorType, apply
from .base import Contraction, ContractionOp, Index
from .batching import everywhere, merge_into, split_from
from .deferred import build


def _same_numeric_dtype(name: str, left: TensorType, right: TensorType) -> None:
    if left.dtype != right.dtype or left.dtype.kind == "bool":
        raise DTypeError(
            f"{name}: operands must have one numeric element type",
            expected=left.describe(),
            given=right.describe(),
        )


def _matmul(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """np.matmul that keeps the element type; half precision accumulates in float32, as native code does."""
    if x.dtype.itemsize == 2 and x.dtype.kind not in "iu":
        return np.matmul(x.astype(np.float32), y.astype(np.float32)).astype(x.dtype)
    return np.matmul(x, y)


@dataclass(frozen=True)
class MatMul(ContractionOp):
    """(..., M, K) x (..., K, N) -> (..., M, N); the leading axes are equal (`build.matmul` broadcasts them)."""

    onnx: ClassVar[str | None] = "MatMul"

    def infer(self, *types: TensorType) -> TensorType:
        x, y = types
        _same_numeric_dtype("matmul", x, y)
        if x.rank < 2 or x.rank != y.rank or x.shape[:-2] != y.shape[:-2]:
            raise ShapeError(
                "matmul: both operands need equal leading axes and two matrix axes",
                expected="(..., M, K) and (..., K, N)", given=f"{x.describe()} and {y.describe()}",
            )  # fmt: skip
        if x.shape[-1] != y.shape[-2]:
            raise ShapeError(
                "matmul: inner dimensions differ",
                expected=f"second operand with {x.shape[-1]} rows, to match {x.describe()}", given=y.describe(),
            )  # fmt: skip
        return TensorType((*x.shape[:-1], y.shape[-1]), x.dtype)

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return _matmul(x, y)

    def contraction(self, types: Sequence[TensorType]) -> Contraction:
        x, y = types
        return Contraction(
            output=(*x.shape[:-1], y.shape[-1]),
            reduce=(x.shape[-1],),
            left_index=lambda i, r: (*i[:-1], r[0]),
            right_index=lambda i, r: (*i[:-2], r[0], i[-1]),
        )

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, Node]:
        left, right = x
        return build.matmul(g, build.swap_last_axes(right)), build.matmul(build.swap_last_axes(left), g)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        left, right = x
        if not batched[1] and len(right.shape) == 2:  # one tall product: (B * M, K) x (K, N)
            return split_from(apply(self, merge_into(left, 0), right), 0, size)
        if not batched[0] and len(left.shape) == 2:  # one wide product: (M, K) x (K, B * N)
            return split_from(apply(self, left, merge_into(right, 1)), 1, size)
        return apply(self, *everywhere(size, x, batched))


# ---- convolution -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Geometry:
    """The extents of one convolution, shared by its three directions."""

    batch: int
    channels: int
    out_channels: int
    image: tuple[int, int]
    kernel: tuple[int, int]
    output: tuple[int, int]
    groups: int

    @property
    def group_channels(self) -> int:
        return self.channels // self.groups

    @property
    def group_out_channels(self) -> int:
        return self.out_channels // self.groups


class _Convolution(ContractionOp, abstract=True):
    """Attributes and helpers of the three directions. Groups other than 1 use // on an output index, so their
    index functions are affine only within a group."""

    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int

    def _geometry(self, image: Sequence[int], weight: Sequence[int], dtype_of: TensorType) -> _Geometry:
        """Checks an image shape against a weight shape."""
        if len(image) != 4:
            raise ShapeError(
                f"{self.name}: the image must have 4 axes", expected=f"{dtype_of.dtype.name}[N, C, H, W]",
                given=f"{dtype_of.dtype.name}{list(image)}",
            )  # fmt: skip
        if len(weight) != 4:
            raise ShapeError(
                f"{self.name}: the weight must have 4 axes", expected=f"{dtype_of.dtype.name}[O, C/groups, KH, KW]",
                given=f"{dtype_of.dtype.name}{list(weight)}",
            )  # fmt: skip
        if min(self.stride) < 1 or min(self.dilation) < 1 or min(self.padding) < 0 or self.groups < 1:
            raise ArgumentError(
                f"{self.name}: unusable attributes", expected="stride, dilation, groups >= 1 and padding >= 0",
                given=f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}, groups={self.groups}",
            )  # fmt: skip
        batch, channels, *size = image
        out_channels, group_channels, *kernel = weight
        if channels != group_channels * self.groups:
            raise ShapeError(
                f"{self.name}: the image has another number of channels than the weight",
                expected=f"{group_channels * self.groups} channels, for a weight of shape {list(weight)}",
                given=f"{dtype_of.dtype.name}{list(image)}",
            )
        if out_channels % self.groups:
            raise ShapeError(
                f"{self.name}: output channels must be a multiple of groups",
                expected=f"a multiple of {self.groups}", given=out_channels,
            )  # fmt: skip
        output = []
        for k in range(2):
            padded = size[k] + self.padding[2 * k] + self.padding[2 * k + 1]
            reach = (kernel[k] - 1) * self.dilation[k] + 1
            if kernel[k] < 1 or padded < reach:
                raise ShapeError(
                    f"{self.name}: the kernel does not fit into the padded image",
                    expected=f"at least {reach} {'rows' if k == 0 else 'columns'}", given=padded,
                )  # fmt: skip
            output.append((padded - reach) // self.stride[k] + 1)
        return _Geometry(
            batch,
            channels,
            out_channels,
            (size[0], size[1]),
            (kernel[0], kernel[1]),
            (output[0], output[1]),
            self.groups,
        )

    def _image_row(self, output: Index, kernel: Index) -> Index:
        return output * self.stride[0] + kernel * self.dilation[0] - self.padding[0]

    def _image_column(self, output: Index, kernel: Index) -> Index:
        return output * self.stride[1] + kernel * self.dilation[1] - self.padding[2]

    def _columns(self, image: np.ndarray, geometry: _Geometry) -> np.ndarray:
        """im2col: (groups, N*OH*OW, C/groups*KH*KW)."""
        top, bottom, left, right = self.padding
        padded = np.pad(image, ((0, 0), (0, 0), (top, bottom), (left, right))) if any(self.padding) else image
        n, c, h, w = padded.strides
        sh, sw = self.stride
        dh, dw = self.dilation
        g = geometry
        view = np.lib.stride_tricks.as_strided(
            padded,
            (g.groups, g.batch, *g.output, g.group_channels, *g.kernel),
            (c * g.group_channels, n, h * sh, w * sw, c, h * dh, w * dw),
            writeable=False,
        )
        return view.reshape(g.groups, g.batch * math.prod(g.output), g.group_channels * math.prod(g.kernel))

    def _by_group(self, y: np.ndarray, geometry: _Geometry) -> np.ndarray:
        """(N, O, OH, OW) -> (groups, N*OH*OW, O/groups)."""
        g = geometry
        split = y.reshape(g.batch, g.groups, g.group_out_channels, *g.output)
        return split.transpose(1, 0, 3, 4, 2).reshape(
            g.groups, g.batch * math.prod(g.output), g.group_out_channels
        )

    def _settings(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }


def _group_of(channel: Index, group_extent: int, groups: int) -> Index:
    return 0 if groups == 1 else channel // group_extent


def _within_group(channel: Index, group_extent: int, groups: int) -> Index:
    return channel if groups == 1 else channel % group_extent


@dataclass(frozen=True)
class Conv2d(_Convolution):
    """(x: N,C,H,W; w: O,C/groups,KH,KW) -> N,O,OH,OW: the cross-correlation every framework calls
    convolution."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def infer(self, *types: TensorType) -> TensorType:
        x, w = types
        g = self._geometry(x.shape, w.shape, x)
        _same_numeric_dtype(self.name, x, w)
        return TensorType((g.batch, g.out_channels, *g.output), x.dtype)

    def evaluate(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        g = self._geometry(x.shape, w.shape, TensorType(x.shape, as_dtype(x.dtype)))
        with np.errstate(all="ignore"):
            kernels = w.reshape(g.groups, g.group_out_channels, -1).transpose(0, 2, 1)
            y = _matmul(self._columns(x, g), kernels)
        y = y.reshape(g.groups, g.batch, *g.output, g.group_out_channels).transpose(1, 0, 4, 2, 3)
        return np.ascontiguousarray(y.reshape(g.batch, g.out_channels, *g.output))

    def contraction(self, types: Sequence[TensorType]) -> Contraction:
        x, w = types
        g = self._geometry(x.shape, w.shape, x)

        def left(i: Sequence[Index], r: Sequence[Index]) -> tuple[Index, ...]:
            channel = _group_of(i[1], g.group_out_channels, g.groups) * g.group_channels + r[0]
            return i[0], channel, self._image_row(i[2], r[1]), self._image_column(i[3], r[2])

        return Contraction(
            output=(g.batch, g.out_channels, *g.output),
            reduce=(g.group_channels, *g.kernel),
            left_index=left,
            right_index=lambda i, r: (i[1], r[0], r[1], r[2]),
        )

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, Node]:
        image, weight = x
        d_image = apply(Conv2dBackwardInput(image.shape, **self._settings()), g, weight)
        return d_image, apply(Conv2dBackwardWeight(weight.shape, **self._settings()), image, g)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        image, weight = x
        if not batched[1]:
            return split_from(apply(self, merge_into(image, 0), weight), 0, size)
        if not batched[0] and self.groups == 1:  # more output channels of the same images
            return split_from(apply(self, image, merge_into(weight, 0)), 1, size)
        image, weight = everywhere(size, x, batched)
        op = replace(self, groups=size * self.groups)
        return split_from(apply(op, merge_into(image, 1), merge_into(weight, 0)), 1, size)


@dataclass(frozen=True)
class Conv2dBackwardInput(_Convolution):
    """(dy: N,O,OH,OW; w: O,C/groups,KH,KW) -> dx of `input_shape`: the transpose of Conv2d in its image."""

    input_shape: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def infer(self, *types: TensorType) -> TensorType:
        dy, w = types
        g = self._geometry(self.input_shape, w.shape, dy)
        _same_numeric_dtype(self.name, dy, w)
        _check_output(self.name, dy, g)
        return TensorType(self.input_shape, dy.dtype)

    def evaluate(self, dy: np.ndarray, w: np.ndarray) -> np.ndarray:
        g = self._geometry(self.input_shape, w.shape, TensorType(dy.shape, as_dtype(dy.dtype)))
        top, bottom, left, right = self.padding
        padded = np.zeros(
            (g.batch, g.groups, g.group_channels, g.image[0] + top + bottom, g.image[1] + left + right),
            dy.dtype,
        )
        with np.errstate(all="ignore"):
            columns = _matmul(self._by_group(dy, g), w.reshape(g.groups, g.group_out_channels, -1))
            columns = columns.reshape(g.groups, g.batch, *g.output, g.group_channels, *g.kernel)
            columns = columns.transpose(1, 0, 4, 5, 6, 2, 3)
            for kh in range(g.kernel[0]):  # col2im: one shifted addition per kernel position
                for kw in range(g.kernel[1]):
                    row, column = kh * self.dilation[0], kw * self.dilation[1]
                    rows = slice(row, row + (g.output[0] - 1) * self.stride[0] + 1, self.stride[0])
                    cols = slice(column, column + (g.output[1] - 1) * self.stride[1] + 1, self.stride[1])
                    padded[:, :, :, rows, cols] += columns[:, :, :, kh, kw]
        inner = padded[:, :, :, top : top + g.image[0], left : left + g.image[1]]
        return np.ascontiguousarray(inner.reshape(self.input_shape))

    def contraction(self, types: Sequence[TensorType]) -> Contraction:
        dy, w = types
        g = self._geometry(self.input_shape, w.shape, dy)

        def left(i: Sequence[Index], r: Sequence[Index]) -> tuple[Index, ...]:
            # before the division by the stride, which `step` asks for
            channel = _group_of(i[1], g.group_channels, g.groups) * g.group_out_channels + r[0]
            row = i[2] + self.padding[0] - r[1] * self.dilation[0]
            column = i[3] + self.padding[2] - r[2] * self.dilation[1]
            return i[0], channel, row, column

        def right(i: Sequence[Index], r: Sequence[Index]) -> tuple[Index, ...]:
            channel = _group_of(i[1], g.group_channels, g.groups) * g.group_out_channels + r[0]
            return channel, _within_group(i[1], g.group_channels, g.groups), r[1], r[2]

        return Contraction(
            output=self.input_shape,
            reduce=(g.group_out_channels, *g.kernel),
            left_index=left,
            right_index=right,
            step=(1, 1, *self.stride) if max(self.stride) > 1 else None,
        )

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, Node]:
        dy, weight = x
        d_dy = apply(Conv2d(**self._settings()), g, weight)
        return d_dy, apply(Conv2dBackwardWeight(weight.shape, **self._settings()), g, dy)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        dy, weight = x
        count, channels, *image = self.input_shape
        if not batched[1]:
            op = replace(self, input_shape=(size * count, channels, *image))
            return split_from(apply(op, merge_into(dy, 0), weight), 0, size)
        dy, weight = everywhere(size, x, batched)
        op = replace(self, input_shape=(count, size * channels, *image), groups=size * self.groups)
        return split_from(apply(op, merge_into(dy, 1), merge_into(weight, 0)), 1, size)


@dataclass(frozen=True)
class Conv2dBackwardWeight(_Convolution):
    """(x: N,C,H,W; dy: N,O,OH,OW) -> dw of `weight_shape`: the transpose of Conv2d in its weight.

    The image comes first because it is the operand whose reads may fall into the padding (see `Contraction`).
    """

    weight_shape: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def infer(self, *types: TensorType) -> TensorType:
        x, dy = types
        g = self._geometry(x.shape, self.weight_shape, x)
        _same_numeric_dtype(self.name, x, dy)
        _check_output(self.name, dy, g)
        return TensorType(self.weight_shape, x.dtype)

    def evaluate(self, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        g = self._geometry(x.shape, self.weight_shape, TensorType(x.shape, as_dtype(x.dtype)))
        with np.errstate(all="ignore"):
            dw = _matmul(self._by_group(dy, g).transpose(0, 2, 1), self._columns(x, g))
        return np.ascontiguousarray(dw.reshape(self.weight_shape))

    def contraction(self, types: Sequence[TensorType]) -> Contraction:
        x, _ = types
        g = self._geometry(x.shape, self.weight_shape, x)

        def left(i: Sequence[Index], r: Sequence[Index]) -> tuple[Index, ...]:
            channel = _group_of(i[0], g.group_out_channels, g.groups) * g.group_channels + i[1]
            return r[0], channel, self._image_row(r[1], i[2]), self._image_column(r[2], i[3])

        return Contraction(
            output=self.weight_shape,
            reduce=(g.batch, *g.output),
            left_index=left,
            right_index=lambda i, r: (r[0], i[0], r[1], r[2]),
        )

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, Node]:
        image, dy = x
        d_image = apply(Conv2dBackwardInput(image.shape, **self._settings()), dy, g)
        return d_image, apply(Conv2d(**self._settings()), image, g)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return batch_weight_gradient(self, size, x, batched)


def batch_weight_gradient(op: Any, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
    """The batching rule of an op with the operands and settings of `Conv2dBackwardWeight`, channels in axis 0."""
    image, dy = x
    out_channels, *kernel = op.weight_shape
    wide = replace(op, weight_shape=(size * out_channels, *kernel))
    if not batched[0] and op.groups == 1:  # more output channels of the same images
        return split_from(apply(wide, image, merge_into(dy, 1)), 0, size)
    image, dy = everywhere(size, x, batched)
    grouped = replace(wide, groups=size * op.groups)
    return split_from(apply(grouped, merge_into(image, 1), merge_into(dy, 1)), 0, size)


def _check_output(name: str, dy: TensorType, geometry: _Geometry) -> None:
    expected = TensorType((geometry.batch, geometry.out_channels, *geometry.output), dy.dtype)
    if dy != expected:
        raise ShapeError(
            f"{name}: the cotangent must have the shape of the convolution's result",
            expected=expected.describe(), given=dy.describe(),
        )  # fmt: skip
