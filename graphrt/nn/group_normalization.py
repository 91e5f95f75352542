"""Normalization of single samples: GroupNorm, InstanceNorm, RMSNorm.

In: float tensors (N, C, ...), RMSNorm (..., normalized_shape). Out: tensors of that shape. Nothing depends on the batch:
training and inference are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ..dtypes import as_dtype
from ..errors import ArgumentError, ShapeError
from ..frontend import functional as ops
from ..frontend.cell import Cell
from ..frontend.parameter import Parameter
from ..frontend.tensor import Tensor
from .dense import check_floating, here, positive_int
from .normalization import check_epsilon


class GroupNorm(Cell):
    """(x - mean) / sqrt(variance + eps) * gamma + beta with the statistics of each sample and group of channels (Wu and He
    2018).

    Input (N, num_channels, ...); `num_groups` divides `num_channels`. gamma and beta are (num_channels,);
    `affine=False`: they stay 1 and 0.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-05,
        affine: bool = True,
        gamma_init: object = "ones",
        beta_init: object = "zeros",
        dtype: object = "float32",
    ):
        super().__init__()
        from ..common.initializer import initializer

        layer = type(self).__name__
        positive_int(layer, num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups:
            raise ArgumentError(
                f"{layer}: num_groups must divide num_channels", **here(),
                given=f"num_groups={num_groups}, num_channels={num_channels}",
            )  # fmt: skip
        self.num_groups, self.num_channels = int(num_groups), int(num_channels)
        self.eps, self.affine = check_epsilon(layer, eps), bool(affine)
        element_type, shape = as_dtype(dtype), (self.num_channels,)
        self.gamma = Parameter(initializer(gamma_init, shape, element_type), requires_grad=self.affine)
        self.beta = Parameter(initializer(beta_init, shape, element_type), requires_grad=self.affine)

    def construct(self, x: Tensor) -> Tensor:
        self._check(x)
        groups = ops.reshape(x, (x.shape[0], self.num_groups, -1))
        normal = ops.reshape(ops.layer_norm(groups, None, None, -1, -1, self.eps), x.shape)
        spread = (self.num_channels, *(1,) * (x.ndim - 2))
        return normal * ops.reshape(self.gamma, spread) + ops.reshape(self.beta, spread)

    def _check(self, x: Tensor) -> None:
        layer = type(self).__name__
        expected = f"float32[N, {self.num_channels}, ...]"
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ShapeError(
                f"{layer}: the input has another number of channels", **here(), expected=expected, given=x.type.describe()
            )  # fmt: skip
        check_floating(layer, x, expected)

    def extend_repr(self) -> str:
        return f"num_groups={self.num_groups}, num_channels={self.num_channels}, eps={self.eps}, affine={self.affine}"


class _InstanceNorm(GroupNorm):
    """(x - mean) / sqrt(variance + eps) * gamma + beta with the statistics of each channel of each sample (Ulyanov,
    Vedaldi and Lempitsky 2016). gamma and beta are (num_features,); `affine=False`: they stay 1 and 0. `momentum` is
    accepted for compatibility: there are no moving statistics.
    """

    rank: ClassVar[int]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        gamma_init: object = "ones",
        beta_init: object = "zeros",
        dtype: object = "float32",
    ):
        positive_int(type(self).__name__, num_features=num_features)
        super().__init__(num_features, num_features, eps, affine, gamma_init, beta_init, dtype)
        self.num_features, self.momentum = int(num_features), float(momentum)

    def _check(self, x: Tensor) -> None:
        if x.ndim != self.rank:
            raise ShapeError(
                f"{type(self).__name__}: the input must have {self.rank} axes", **here(),
                expected=f"float32[N, {self.num_features}{', L' if self.rank == 3 else ', ...'}]", given=x.type.describe(),
            )  # fmt: skip
        super()._check(x)

    def extend_repr(self) -> str:
        return f"num_features={self.num_features}, eps={self.eps}, affine={self.affine}"


class InstanceNorm1d(_InstanceNorm):
    rank = 3


class InstanceNorm2d(_InstanceNorm):
    rank = 4


class InstanceNorm3d(_InstanceNorm):
    rank = 5


InstanceNorm1d.__doc__ = f"Input (N, num_features, L). {_InstanceNorm.__doc__}"
InstanceNorm2d.__doc__ = f"Input (N, num_features, H, W). {_InstanceNorm.__doc__}"
InstanceNorm3d.__doc__ = f"Input (N, num_features, D, H, W). {_InstanceNorm.__doc__}"


class RMSNorm(Cell):
    """x / sqrt(mean(x^2) + epsilon) * gamma over the last axes, whose extents are `normalized_shape` (Zhang and Sennrich
    2019)."""

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        epsilon: float = 1e-6,
        gamma_init: object = "ones",
        dtype: object = "float32",
    ):
        super().__init__()
        from ..common.initializer import initializer

        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        for extent in shape:
            positive_int("RMSNorm", normalized_shape=extent)
        self.normalized_shape = tuple(int(e) for e in shape)
        self.epsilon = check_epsilon("RMSNorm", epsilon)
        self.gamma = Parameter(initializer(gamma_init, self.normalized_shape, as_dtype(dtype)))

    def construct(self, x: Tensor) -> Tensor:
        count = len(self.normalized_shape)
        expected = f"float32[..., {', '.join(map(str, self.normalized_shape))}]"
        if tuple(x.shape[x.ndim - count :]) != self.normalized_shape or x.ndim < count:
            raise ShapeError(
                "RMSNorm: the last axes of the input are not normalized_shape", **here(), expected=expected,
                given=x.type.describe(),
            )  # fmt: skip
        check_floating("RMSNorm", x, expected)
        squares = ops.reduce_mean(ops.square(x), tuple(range(-count, 0)), True)
        return x * ops.rsqrt(squares + self.epsilon) * self.gamma

    def extend_repr(self) -> str:
        return f"normalized_shape={self.normalized_shape}, epsilon={self.epsilon}"
