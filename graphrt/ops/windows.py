"""Sliding windows over the last two axes: the pieces pooling is made of, and max and average pooling.

A window op reads x of shape (..., H, W); output element (..., oh, ow) looks at the rows oh*stride - top + kh
and the columns ow*stride - left + kw. Padding is (top, bottom, left, right). A "position" is kh *
window_width + kw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..dtypes import as_dtype, int32
from ..errors import ArgumentError, DTypeError, ShapeError
from ..ir import Node, TensorType, apply
from .base import CompositeOp, ElementBuilder, ElementOp, Index, Read, ReductionOp, Scalar
from .batching import everywhere, merge_into, split_from
from .deferred import build


class _Windowed:
    """Attributes and index arithmetic shared by the window ops."""

    name: Any
    window: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int, int, int]

    def _settings(self) -> dict[str, Any]:
        return {"window": self.window, "strides": self.strides, "padding": self.padding}

    def output_extents(self, shape: Sequence[int]) -> tuple[int, int]:
        """OH, OW for an input of this shape; raises ShapeError when a window does not fit."""
        if len(shape) < 2:
            raise ShapeError(
                f"{self.name}: a window needs two axes", expected="[..., H, W]", given=list(shape)
            )
        if min(self.window) < 1 or min(self.strides) < 1 or min(self.padding) < 0:
            raise ArgumentError(
                f"{self.name}: unusable attributes", expected="window and strides >= 1, padding >= 0",
                given=f"window={self.window}, strides={self.strides}, padding={self.padding}",
            )  # fmt: skip
        extents = []
        for k in range(2):
            before, after = self.padding[2 * k], self.padding[2 * k + 1]
            if max(before, after) >= self.window[k]:
                raise ShapeError(
                    f"{self.name}: padding must be smaller than the window, or windows without elements appear",
                    expected=f"padding below {self.window[k]}", given=self.padding,
                )  # fmt: skip
            padded = shape[len(shape) - 2 + k] + before + after
            if padded < self.window[k]:
                raise ShapeError(
                    f"{self.name}: the window does not fit into the padded image",
                    expected=f"at least {self.window[k]} {'rows' if k == 0 else 'columns'}", given=padded,
                )  # fmt: skip
            extents.append((padded - self.window[k]) // self.strides[k] + 1)
        return extents[0], extents[1]

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of one value per window."""
        return (*shape[:-2], *self.output_extents(shape))

    def check_windows(self, given: TensorType, input_shape: Sequence[int], what: str) -> None:
        """Raises ShapeError unless `given` holds one value per window of `input_shape`."""
        expected = self.output_shape(input_shape)
        if given.shape != expected:
            raise ShapeError(
                f"{self.name}: {what} must hold one value per window",
                expected=list(expected),
                given=given.describe(),
            )

    def in_image(self, b: ElementBuilder, row: Index, column: Index, shape: Sequence[int],
                 inside: Callable[[], Scalar], outside: Scalar) -> Scalar:  # fmt: skip
        """`inside()` where (row, column) is in the image; no test where padding makes none necessary."""
        ranges = []
        if self.padding[0] or self.padding[1]:
            ranges.append((row, 0, shape[-2]))
        if self.padding[2] or self.padding[3]:
            ranges.append((column, 0, shape[-1]))
        return b.where_in_range(ranges, inside, outside) if ranges else inside()

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        """Windows are taken of the last two axes; only pooling insists on (N, C, H, W)."""
        stacked: list[Any] = everywhere(size, x, batched)
        if isinstance(self, CompositeOp):
            return split_from(apply(self, merge_into(stacked[0], 0)), 0, size)
        inner = getattr(self, "input_shape", None)
        op: Any = self if inner is None else replace(self, input_shape=(size, *inner))  # type: ignore[type-var]
        return apply(op, *stacked)

    def source(self, index: Sequence[Index], kernel_row: Index, kernel_column: Index) -> tuple[Index, Index]:
        """The image position a window element looks at."""
        row = index[-2] * self.strides[0] + (kernel_row - self.padding[0])
        column = index[-1] * self.strides[1] + (kernel_column - self.padding[2])
        return row, column

    def offsets(self) -> Iterator[tuple[int, int, int]]:
        """(position, kernel row, kernel column) of every window element, row-major."""
        for position in range(self.window[0] * self.window[1]):
            yield position, position // self.window[1], position % self.window[1]

    def covering(self, index: Sequence[Index]) -> Iterator[tuple[Index, Index, Index, Index]]:
        """(output row, output column, kernel row, kernel column) of every window that may cover an image
        position; candidates with a kernel coordinate >= window or an output coordinate outside do not exist.
        """
        steps = [-(-size // stride) for size, stride in zip(self.window, self.strides)]
        row, column = index[-2] + self.padding[0], index[-1] + self.padding[2]
        for a in range(steps[0]):
            for c in range(steps[1]):
                yield (
                    row // self.strides[0] - a, column // self.strides[1] - c,
                    row % self.strides[0] + a * self.strides[0], column % self.strides[1] + c * self.strides[1],
                )  # fmt: skip

    def gather_windows(self, x: np.ndarray, fill: Any) -> np.ndarray:
        """(..., OH, OW, KH*KW): every window's elements, `fill` in the padding."""
        outputs = self.output_extents(x.shape)
        top, bottom, left, right = self.padding
        margins = [(0, 0)] * (x.ndim - 2) + [(top, bottom), (left, right)]
        padded = np.pad(x, margins, constant_values=fill) if any(self.padding) else x
        *outer, h, w = padded.strides
        view = np.lib.stride_tricks.as_strided(
            padded,
            (*x.shape[:-2], *outputs, *self.window),
            (*outer, h * self.strides[0], w * self.strides[1], h, w),
            writeable=False,
        )
        return view.reshape(*x.shape[:-2], *outputs, self.window[0] * self.window[1])

    def spread_windows(
        self, values: Callable[[int], np.ndarray], shape: Sequence[int], dtype: np.dtype
    ) -> np.ndarray:
        """An image of `shape` to which values(position), one per window, are added at every window's
        position."""
        outputs = self.output_extents(shape)
        top, bottom, left, right = self.padding
        result = np.zeros((*shape[:-2], shape[-2] + top + bottom, shape[-1] + left + right), dtype)
        for position, kh, kw in self.offsets():
            rows = slice(kh, kh + (outputs[0] - 1) * self.strides[0] + 1, self.strides[0])
            columns = slice(kw, kw + (outputs[1] - 1) * self.strides[1] + 1, self.strides[1])
            result[..., rows, columns] += values(position)
        return np.ascontiguousarray(result[..., top : top + shape[-2], left : left + shape[-1]])


def _check_number(name: str, x: TensorType) -> None:
    if x.dtype.kind == "bool":
        raise DTypeError(f"{name}: element type not accepted", expected="float or int", given=x.describe())


@dataclass(frozen=True)
class WindowArgMax(_Windowed, ElementOp):
    """int32 position of the first largest element in every window. Padding is never larger than an element;
    NaN elements are passed over (a window of NaN only has position 0)."""

    window: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def infer(self, *types: TensorType) -> TensorType:
        _check_number(self.name, types[0])
        return TensorType(self.output_shape(types[0].shape), int32)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        lowest = build.lowest(as_dtype(x.dtype))
        windows = self.gather_windows(x, lowest)
        if x.dtype.kind not in "iu":
            windows = np.where(np.isnan(windows), x.dtype.type(lowest), windows)
        return np.asarray(windows.argmax(axis=-1)).astype(np.int32)

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        (x,) = types
        lowest = b.constant(build.lowest(x.dtype), x.dtype)
        best, where = lowest, b.constant(0, int32)
        for position, kh, kw in self.offsets():
            row, column = self.source(index, kh, kw)

            def element(row: Index = row, column: Index = column) -> Scalar:
                return read(0, [*index[:-2], row, column])

            value = self.in_image(b, row, column, x.shape, element, lowest)
            larger = b.binary("gt", value, best)
            best = b.select(larger, value, best)
            where = b.select(larger, b.constant(position, int32), where)
        return where

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[None]:
        return (None,)

    def flops(self, *types: TensorType) -> int:
        return self.infer(*types).size * self.window[0] * self.window[1]


@dataclass(frozen=True)
class WindowGather(_Windowed, ElementOp):
    """(x: ..., H, W; position: int32 ..., OH, OW) -> x at the given position of every window (zero in the
    padding)."""

    window: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def infer(self, *types: TensorType) -> TensorType:
        x, position = types
        _check_number(self.name, x)
        _check_position(self.name, position)
        self.check_windows(position, x.shape, "position")
        return TensorType(position.shape, x.dtype)

    def evaluate(self, x: np.ndarray, position: np.ndarray) -> np.ndarray:
        windows = self.gather_windows(x, 0)
        return np.take_along_axis(windows, position[..., None].astype(np.int64), axis=-1)[..., 0]

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        (x, _) = types
        chosen = read(1, index)
        zero = b.constant(0, x.dtype)
        result = zero
        for position, kh, kw in self.offsets():
            row, column = self.source(index, kh, kw)

            def element(row: Index = row, column: Index = column) -> Scalar:
                return read(0, [*index[:-2], row, column])

            value = self.in_image(b, row, column, x.shape, element, zero)
            here = b.binary("eq", chosen, b.constant(position, int32))
            result = value if position == 0 else b.select(here, value, result)
        return result

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, None]:
        return apply(WindowScatter(x[0].shape, **self._settings()), g, x[1]), None


@dataclass(frozen=True)
class WindowScatter(_Windowed, ElementOp):
    """(dy, position: one value per window) -> an image of `input_shape`: dy added at every window's position."""

    input_shape: tuple[int, ...]
    window: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def infer(self, *types: TensorType) -> TensorType:
        dy, position = types
        _check_number(self.name, dy)
        _check_position(self.name, position)
        self.check_windows(dy, self.input_shape, "the cotangent")
        self.check_windows(position, self.input_shape, "position")
        return TensorType(self.input_shape, dy.dtype)

    def evaluate(self, dy: np.ndarray, position: np.ndarray) -> np.ndarray:
        zero = dy.dtype.type(0)
        return self.spread_windows(lambda k: np.where(position == k, dy, zero), self.input_shape, dy.dtype)

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        def value(row: Index, column: Index, kernel_row: Index, kernel_column: Index) -> Scalar:
            at = [*index[:-2], row, column]
            here = b.index_value(kernel_row * self.window[1] + kernel_column, int32)
            return b.select(b.binary("eq", read(1, at), here), read(0, at), b.constant(0, types[0].dtype))

        return _sum_of_covering(self, b, index, types[0], value)

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, None]:
        return apply(WindowGather(**self._settings()), g, x[1]), None


@dataclass(frozen=True)
class WindowSum(_Windowed, ReductionOp):
    """The sum of every window; padding counts as zero."""

    window: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def infer(self, *types: TensorType) -> TensorType:
        _check_number(self.name, types[0])
        return TensorType(self.output_shape(types[0].shape), types[0].dtype)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.gather_windows(x, 0).sum(axis=-1, dtype=x.dtype))

    def reduce_extents(self, types: Sequence[TensorType]) -> tuple[int, ...]:
        return self.window

    def term(
        self,
        b: ElementBuilder,
        index: Sequence[Index],
        window: Sequence[Index],
        read: Read,
        types: Sequence[TensorType],
    ) -> Scalar:
        row, column = self.source(index, window[0], window[1])
        zero = b.constant(0, types[0].dtype)
        return self.in_image(
            b, row, column, types[0].shape, lambda: read(0, [*index[:-2], row, column]), zero
        )

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (apply(WindowSpread(x[0].shape, **self._settings()), g),)

    def flops(self, *types: TensorType) -> int:
        return self.infer(*types).size * self.window[0] * self.window[1]


@dataclass(frozen=True)
class WindowSpread(_Windowed, ElementOp):
    """One value per window -> an image of `input_shape` whose elements add up the windows that cover them."""

    input_shape: tuple[int, ...]
    window: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def infer(self, *types: TensorType) -> TensorType:
        _check_number(self.name, types[0])
        self.check_windows(types[0], self.input_shape, "the cotangent")
        return TensorType(self.input_shape, types[0].dtype)

    def evaluate(self, dy: np.ndarray) -> np.ndarray:
        return self.spread_windows(lambda k: dy, self.input_shape, dy.dtype)

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        def value(row: Index, column: Index, kernel_row: Index, kernel_column: Index) -> Scalar:
            return read(0, [*index[:-2], row, column])

        return _sum_of_covering(self, b, index, types[0], value)

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (apply(WindowSum(**self._settings()), g),)


def _sum_of_covering(op: _Windowed, b: ElementBuilder, index: Sequence[Index], windows: TensorType,
                     value: Callable[..., Scalar]) -> Scalar:  # fmt: skip
    """The sum of value(candidate) over the windows that cover an image position."""
    total = zero = b.constant(0, windows.dtype)
    for number, (row, column, kernel_row, kernel_column) in enumerate(op.covering(index)):
        ranges = [
            (row, 0, windows.shape[-2]), (column, 0, windows.shape[-1]),
            (kernel_row, 0, op.window[0]), (kernel_column, 0, op.window[1]),
        ]  # fmt: skip
        candidate = b.where_in_range(ranges, partial(value, row, column, kernel_row, kernel_column), zero)
        total = candidate if number == 0 else b.binary("add", total, candidate)
    return total


def _check_position(name: str, position: TensorType) -> None:
    if position.dtype != int32:
        raise DTypeError(f"{name}: positions are int32", expected="int32", given=position.describe())


# ---- pooling ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MaxPool2d(_Windowed, CompositeOp):
    """The largest element of every window of an NCHW image; the gradient goes to the first one."""

    window: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def infer(self, *types: TensorType) -> TensorType:
        _check_image(self.name, types[0])
        return TensorType(self.output_shape(types[0].shape), types[0].dtype)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return WindowGather(**self._settings()).evaluate(x, WindowArgMax(**self._settings()).evaluate(x))

    def expand(self, *x: Node) -> Node:
        return apply(WindowGather(**self._settings()), x[0], apply(WindowArgMax(**self._settings()), x[0]))

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        # the same node the expansion makes: merging duplicates leaves one search per step
        position = apply(WindowArgMax(**self._settings()), x[0])
        return (apply(WindowScatter(x[0].shape, **self._settings()), g, position),)

    def flops(self, *types: TensorType) -> int:
        return self.infer(*types).size * self.window[0] * self.window[1]


@dataclass(frozen=True)
class AvgPool2d(_Windowed, CompositeOp):
    """The mean of every window of an NCHW image. `count_include_pad` divides by the window's size everywhere,
    else by the number of elements that are not padding."""

    window: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    count_include_pad: bool = True

    def infer(self, *types: TensorType) -> TensorType:
        _check_image(self.name, types[0])
        if not types[0].dtype.is_float:
            raise DTypeError(
                "avg_pool2d: element type not accepted", expected="float", given=types[0].describe()
            )
        return TensorType(self.output_shape(types[0].shape), types[0].dtype)

    def _counts(self, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
        """How many elements each window averages: a scalar, or one count per window."""
        if self.count_include_pad or not any(self.padding):
            return np.array(self.window[0] * self.window[1], dtype)
        return WindowSum(**self._settings()).evaluate(np.ones(shape[-2:], dtype))

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        total = WindowSum(**self._settings()).evaluate(x)
        return np.asarray(total / self._counts(x.shape, x.dtype), dtype=x.dtype)

    def _mean(self, total: Node, shape: Sequence[int]) -> Node:
        return build.div(total, build.constant(self._counts(shape, total.dtype.numpy)))

    def expand(self, *x: Node) -> Node:
        return self._mean(apply(WindowSum(**self._settings()), x[0]), x[0].shape)

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (apply(WindowSpread(x[0].shape, **self._settings()), self._mean(g, x[0].shape)),)

    def flops(self, *types: TensorType) -> int:
        return self.infer(*types).size * self.window[0] * self.window[1]


def _check_image(name: str, x: TensorType) -> None:
    if x.rank != 4:
        raise ShapeError(
            f"{name}: the image must have 4 axes", expected=f"{x.dtype.name}[N, C, H, W]", given=x.describe()
        )
    _check_number(name, x)
