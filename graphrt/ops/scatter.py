"""ScatterAdd: rows added up at integer positions, the transpose of Gather along axis 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..dtypes import int32
from ..errors import DTypeError, ShapeError
from ..ir import Node, TensorType, apply
from .base import ElementBuilder, Index, Read, ReductionOp, Scalar
from .batching import move_axis, shifted_rows, spread
from .deferred import build


@dataclass(frozen=True)
class ScatterAdd(ReductionOp):
    """Inputs `indices` (any shape, integer) and `updates` (indices.shape + rest). Output (rows,) + rest: row
    r is the sum of the updates whose index is r, in index order; rows never named are zero. Indices outside
    are clamped, as Gather does. The reduction rule visits every update for every row: right for tests and few
    rows; a native scatter loop should replace it for large tables."""

    rows: int

    def infer(self, *types: TensorType) -> TensorType:
        indices, updates = types
        if not indices.dtype.is_integer:
            raise DTypeError(
                "scatter_add: indices must be integers", expected="int32", given=indices.describe()
            )
        if updates.dtype.kind == "bool":
            raise DTypeError(
                "scatter_add: bool cannot be added", expected="float or int", given=updates.describe()
            )
        if updates.shape[: indices.rank] != indices.shape:
            raise ShapeError(
                "scatter_add: updates must begin with the shape of indices",
                expected=f"[{', '.join(map(str, indices.shape))}, ...]", given=updates.describe(),
            )  # fmt: skip
        if self.rows < 1 and indices.size:
            raise ShapeError("scatter_add: no rows to add to", expected="rows >= 1", given=self.rows)
        return TensorType((self.rows, *updates.shape[indices.rank :]), updates.dtype)

    def evaluate(self, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        result = np.zeros((self.rows, *updates.shape[indices.ndim :]), updates.dtype)
        if indices.size:
            if indices.dtype.kind == "u":
                indices = np.minimum(indices, indices.dtype.type(min(self.rows, np.iinfo(indices.dtype).max)))
            rows = np.clip(indices.astype(np.int64), 0, self.rows - 1)
            np.add.at(result, rows, updates)
        return result

    def reduce_extents(self, types: Sequence[TensorType]) -> tuple[int, ...]:
        return types[0].shape

    def term(
        self,
        b: ElementBuilder,
        index: Sequence[Index],
        window: Sequence[Index],
        read: Read,
        types: Sequence[TensorType],
    ) -> Scalar:
        updates = types[1]
        row = b.index_value(b.as_index(read(0, window), self.rows), int32)
        here = b.binary("eq", row, b.index_value(index[0], int32))
        return b.select(here, read(1, [*window, *index[1:]]), b.constant(0, updates.dtype))

    def flops(self, *types: TensorType) -> int:
        return types[1].size

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[None, Node]:
        return None, build.gather(g, x[0], 0)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        indices, updates = x
        if not batched[0]:
            along_rows = move_axis(updates, 0, len(indices.shape))
            return move_axis(apply(self, indices, along_rows), 1, 0)
        updates = updates if batched[1] else spread(updates, size)
        summed = apply(ScatterAdd(size * self.rows), shifted_rows(indices, self.rows), updates)
        return build.reshape(summed, (size, self.rows, *summed.shape[1:]))
