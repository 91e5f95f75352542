"""Gather: rows taken at integer positions; its transpose is ScatterAdd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DTypeError, ShapeError
from ..ir import Node, TensorType, apply
from .base import ElementBuilder, ElementOp, Index, Read, Scalar
from .batching import merge_into, move_axis, shifted_rows
from .deferred import build


@dataclass(frozen=True)
class Gather(ElementOp):
    """x taken along `axis` at integer `indices`, whose shape replaces that axis. Indices outside are clamped
    into the axis (negative ones to 0). The gradient adds up the rows taken more than once."""

    axis: int

    def infer(self, *types: TensorType) -> TensorType:
        x, indices = types
        if not 0 <= self.axis < x.rank:
            raise ShapeError("gather: axis out of range", expected=f"0..{x.rank - 1}", given=self.axis)
        if not indices.dtype.is_integer:
            raise DTypeError("gather: indices must be integers", expected="int32", given=indices.describe())
        if x.shape[self.axis] == 0 and indices.size:
            raise ShapeError(
                f"gather: axis {self.axis} is empty", expected="at least 1 element", given=x.describe()
            )
        return TensorType(x.shape[: self.axis] + indices.shape + x.shape[self.axis + 1 :], x.dtype)

    def evaluate(self, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
        if indices.dtype.kind == "u":  # np.take wants a signed index type
            indices = np.minimum(
                indices, indices.dtype.type(min(x.shape[self.axis], np.iinfo(indices.dtype).max))
            )
        return np.asarray(np.take(x, indices.astype(np.int64), axis=self.axis, mode="clip"))

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        x, indices = types
        end = self.axis + indices.rank
        row = b.as_index(read(1, index[self.axis : end]), x.shape[self.axis])
        return read(0, [*index[: self.axis], row, *index[end:]])

    def flops(self, *types: TensorType) -> int:
        return 0

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, None]:
        source, indices = x
        rank, count = len(source.shape), len(indices.shape)
        around = [*range(self.axis), *range(self.axis + count, rank - 1 + count)]
        rows_first = build.transpose(g, [*range(self.axis, self.axis + count), *around])
        summed = build.scatter_add(indices, rows_first, source.shape[self.axis])
        back = [*range(1, self.axis + 1), 0, *range(self.axis + 1, rank)]
        return build.transpose(summed, back), None

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        table, indices = x
        if not batched[1]:
            return apply(Gather(self.axis + 1), table, indices)
        if not batched[0]:
            return move_axis(apply(self, table, indices), self.axis, 0)
        rows = table.shape[self.axis + 1]
        tables = merge_into(move_axis(table, self.axis + 1, 1), 0)  # (B * rows, the other axes)
        taken = apply(Gather(0), tables, shifted_rows(indices, rows))  # (B, indices, the other axes)
        count = len(indices.shape) - 1
        axes = [*range(1 + count, 1 + count + self.axis), *range(1, 1 + count)]
        return build.transpose(taken, [0, *axes, *range(1 + count + self.axis, len(taken.shape))])
