"""Dropout of single elements and of whole channels.

In: float tensors. Out: tensors of that shape, in training with some elements zero and the others larger.
"""

from __future__ import annotations

from ..errors import ArgumentError, ShapeError
from ..frontend import functional as ops
from ..frontend import random
from ..frontend.cell import Cell
from ..frontend.parameter import Parameter
from ..frontend.tensor import Tensor
from .dense import here


class Dropout(Cell):
    """In training, each element becomes 0 with probability `p` and is scaled by 1 / (1 - p) otherwise.

    The positional argument is `keep_prob` (1 - p). The random stream is fixed by `set_seed` and moves on with every
    training step; its state is the untrainable parameter `key` (uint32[2]: stream, step).
    """

    differs_in_training = True

    def __init__(self, keep_prob: float = 0.5, p: float | None = None, dtype: object = "float32"):
        super().__init__()
        rate = 1.0 - keep_prob if p is None else p
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < 1:
            given = f"keep_prob={keep_prob!r}" if p is None else f"p={p!r}"
            raise ArgumentError(
                "Dropout: the rate must be in [0, 1)", **here(), expected="0 <= p < 1", given=given
            )
        self.p, self.keep_prob = float(rate), 1.0 - float(rate)
        self.key = Parameter(random.new_key(), requires_grad=False)

    def construct(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        return ops.dropout(x, self.p, key=self.key)

    def extend_repr(self) -> str:
        return f"p={self.p}"


class _ChannelDropout(Cell):
    """In training, each channel of (N, C, ...) becomes 0 with probability `p` and is scaled by 1 / (1 - p) otherwise."""

    differs_in_training = True
    ranks: tuple[int, ...]

    def __init__(self, p: float = 0.5):
        super().__init__()
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p < 1:
            raise ArgumentError(
                f"{type(self).__name__}: the rate must be in [0, 1)",
                **here(),
                expected="0 <= p < 1",
                given=f"p={p!r}",
            )
        self.p = float(p)
        self.key = Parameter(random.new_key(), requires_grad=False)

    def construct(self, x: Tensor) -> Tensor:
        if x.ndim not in self.ranks:
            raise ShapeError(
                f"{type(self).__name__}: the input has another number of axes", **here(),
                expected=" or ".join(f"{rank} axes" for rank in self.ranks), given=x.type.describe(),
            )  # fmt: skip
        if not self.training or self.p == 0.0:
            return x
        channels = x.ndim - self.ranks[0] + 1  # the leading axes up to the channels
        factor = ops.dropout(ops.ones(x.shape[:channels], x.dtype), self.p, key=self.key)
        return x * ops.reshape(factor, (*factor.shape, *(1,) * (x.ndim - channels)))

    def extend_repr(self) -> str:
        return f"p={self.p}"


class Dropout1d(_ChannelDropout):
    """Drops channels of (C, L) or (N, C, L)."""

    ranks = (2, 3)


class Dropout2d(_ChannelDropout):
    """Drops channels of (C, H, W) or (N, C, H, W)."""

    ranks = (3, 4)


class Dropout3d(_ChannelDropout):
    """Drops channels of (C, D, H, W) or (N, C, D, H, W)."""

    ranks = (4, 5)


for _kind in (Dropout1d, Dropout2d, Dropout3d):
    _kind.__doc__ = f"{_kind.__doc__} {_ChannelDropout.__doc__}"
