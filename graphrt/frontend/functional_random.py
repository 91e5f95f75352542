"""Random functions of `graphrt.ops`, made of the uniform numbers of `functional.py`.

In: shapes, probabilities, and optionally a `key` (uint32[2]); without one the stream that `set_seed` starts. Out:
Tensors that differ from call to call, in compiled code too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, ShapeError
from . import functional as base
from . import functional_arrays as arrays
from .location import user_source
from .tensor import Tensor

_EXACT = 1 << 24  # below this every integer is a float32


def bernoulli(input: Any, p: Any = 0.5, key: Any = None) -> Tensor:
    """1 with probability `p` (a number, or a Tensor that broadcasts to the shape of input), else 0: the shape and element
    type of `input`. `key`: see `uniform`."""
    x = input if isinstance(input, Tensor) else Tensor(input)
    return base.cast(base.less(base.uniform(x.shape, key=key), p), x.dtype)


def randint(
    low: int, high: int, size: int | Sequence[int], *, dtype: Any = "int32", key: Any = None
) -> Tensor:
    """Integers from `low` to `high` - 1, all equally likely, in a Tensor of shape `size` and type `dtype`. `key`: see
    `uniform`. Raises ArgumentError unless 0 < high - low <= 2^24."""
    if not 0 < high - low <= _EXACT:
        raise ArgumentError(
            "randint: the range is empty or too wide", at=user_source(), expected=f"1 to {_EXACT} integers",
            given=f"low={low}, high={high}",
        )  # fmt: skip
    shape = (size,) if isinstance(size, int) else size
    below = base.floor(base.uniform(shape, 0.0, float(high - low), key=key))
    # the product of a number below 1 and the width may round up to the width
    return base.add(base.cast(base.minimum(below, float(high - low - 1)), dtype), low)


def randperm(n: int, dtype: Any = "int32", key: Any = None) -> Tensor:
    """The integers 0 to n - 1 in random order: shape (n,), type `dtype`. `key`: see `uniform`. Compares every pair:
    right for up to some thousand. Raises ArgumentError for negative n."""
    if n < 0:
        raise ArgumentError("randperm: n must not be negative", at=user_source(), given=n)
    return base.cast(arrays.argsort(base.uniform((n,), key=key)), dtype)


def dropout2d(input: Any, p: float = 0.5, training: bool = True, key: Any = None) -> Tensor:
    """Each channel of each sample (N, C, H, W) becomes 0 with probability `p`, or is scaled by 1 / (1 - p); `input` itself
    unless `training`. `key`: see `uniform`."""
    x = input if isinstance(input, Tensor) else Tensor(input)
    if x.ndim != 4:
        raise ShapeError(
            "dropout2d: images are (N, C, H, W)", at=user_source(), expected="4 axes", given=list(x.shape)
        )
    return base.mul(x, base.dropout(base.ones((*x.shape[:2], 1, 1), x.dtype), p, training, key))


__all__ = ["bernoulli", "dropout2d", "randint", "randperm"]
