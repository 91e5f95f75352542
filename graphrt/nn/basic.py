"""Small layers that change shapes or sum up: Flatten, Unflatten, OneHot, Norm.

In: tensors. Out: tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..dtypes import as_dtype
from ..errors import ShapeError
from ..frontend import functional as ops
from ..frontend.cell import Cell
from ..frontend.tensor import Tensor
from .dense import here, positive_int


class Flatten(Cell):
    """Axes start_dim to end_dim merged into one; by default all but the batch axis."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def construct(self, x: Tensor) -> Tensor:
        return ops.flatten(x, start_dim=self.start_dim, end_dim=self.end_dim)


class Unflatten(Cell):
    """Axis `axis` cut into axes of the extents `unflattened_size`, one of which may be -1."""

    def __init__(self, axis: int, unflattened_size: Sequence[int]):
        super().__init__()
        self.axis, self.unflattened_size = int(axis), tuple(int(e) for e in unflattened_size)

    def construct(self, x: Tensor) -> Tensor:
        axis = self.axis + (x.ndim if self.axis < 0 else 0)
        size = math.prod(e for e in self.unflattened_size if e != -1)
        if (
            not 0 <= axis < x.ndim
            or self.unflattened_size.count(-1) > 1
            or (x.shape[axis] % size if -1 in self.unflattened_size else x.shape[axis] != size)
        ):
            raise ShapeError(
                "Unflatten: the axis does not have that many elements", **here(),
                expected=f"{self.unflattened_size} from axis {self.axis}", given=x.type.describe(),
            )  # fmt: skip
        return ops.reshape(x, (*x.shape[:axis], *self.unflattened_size, *x.shape[axis + 1 :]))


class OneHot(Cell):
    """`on_value` where the new axis (at `axis`, of extent `depth`) equals the integer index, `off_value` elsewhere."""

    def __init__(
        self,
        axis: int = -1,
        depth: int = 1,
        on_value: float = 1.0,
        off_value: float = 0.0,
        dtype: object = "float32",
    ):
        super().__init__()
        positive_int("OneHot", depth=depth)
        self.axis, self.depth = int(axis), int(depth)
        self.on_value, self.off_value, self.dtype = on_value, off_value, as_dtype(dtype)

    def construct(self, indices: Tensor) -> Tensor:
        return ops.one_hot(indices, self.depth, self.on_value, self.off_value, self.axis, self.dtype)


class Norm(Cell):
    """The Euclidean length along `axis` (an int or several; () for all). `keep_dims`: whether the axes
    stay, with extent 1."""

    def __init__(self, axis: int | Sequence[int] = (), keep_dims: bool = False):
        super().__init__()
        self.axis, self.keep_dims = axis, bool(keep_dims)

    def construct(self, x: Tensor) -> Tensor:
        return ops.norm(x, None if self.axis == () else self.axis, self.keep_dims)
