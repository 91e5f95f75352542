"""Normalization layers.

In: float tensors; BatchNorm (N, num_features, ...), LayerNorm (..., normalized_shape). Out: tensors of that shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..dtypes import as_dtype
from ..errors import ArgumentError, ShapeError
from ..frontend import functional_layers as ops
from ..frontend.cell import Cell
from ..frontend.parameter import Parameter
from ..frontend.tensor import Tensor
from .dense import check_floating, here, positive_int


def check_epsilon(layer: str, value: Any) -> float:
    """`value` as a float; raises ArgumentError unless it is positive."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ArgumentError(f"{layer}: epsilon must be positive", **here(), expected="> 0", given=repr(value))
    return float(value)


class _BatchNorm(Cell):
    """Normalizes each channel of (N, num_features, ...): (x - mean) / sqrt(variance + eps) * gamma + beta.

    In training with the statistics of the batch, which also move the parameters `moving_mean` and `moving_variance`:
    moving = momentum * moving + (1 - momentum) * batch, with the biased variance. In inference with the moving ones.
    `use_batch_statistics` True or False fixes the choice; None follows training. `affine=False`: gamma and beta stay
    1 and 0 (they are not trainable).
    """

    differs_in_training = True
    trailing: ClassVar[dict[int, str]]  # accepted ranks, and what follows the channels in messages

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.9,
        affine: bool = True,
        gamma_init: object = "ones",
        beta_init: object = "zeros",
        moving_mean_init: object = "zeros",
        moving_var_init: object = "ones",
        use_batch_statistics: bool | None = None,
        data_format: str = "NCHW",
        dtype: object = "float32",
    ):
        super().__init__()
        from ..common.initializer import initializer

        layer = type(self).__name__
        positive_int(layer, num_features=num_features)
        if isinstance(momentum, bool) or not isinstance(momentum, (int, float)) or not 0 <= momentum <= 1:
            raise ArgumentError(
                f"{layer}: momentum out of range", **here(), expected="0 to 1", given=repr(momentum)
            )
        if data_format not in ("NCHW", "NCDHW"):
            raise ArgumentError(
                f"{layer}: unknown data_format", **here(), expected="'NCHW'", given=repr(data_format)
            )
        if use_batch_statistics not in (None, True, False):
            raise ArgumentError(
                f"{layer}: unknown use_batch_statistics", **here(), expected="None, True or False",
                given=repr(use_batch_statistics),
            )  # fmt: skip
        self.num_features, self.momentum = int(num_features), float(momentum)
        self.eps = check_epsilon(layer, eps)
        self.use_batch_statistics, self.affine = use_batch_statistics, bool(affine)
        element_type, shape = as_dtype(dtype), (self.num_features,)

        def parameter(init: object, trainable: bool) -> Parameter:
            return Parameter(initializer(init, shape, element_type), requires_grad=trainable)

        self.moving_mean = parameter(moving_mean_init, False)
        self.moving_variance = parameter(moving_var_init, False)
        self.gamma, self.beta = parameter(gamma_init, self.affine), parameter(beta_init, self.affine)

    def construct(self, x: Tensor) -> Tensor:
        self._check(x)
        batch = self.training if self.use_batch_statistics is None else self.use_batch_statistics
        if not batch:
            return ops._batch_norm(x, self.gamma, self.beta, self.moving_mean, self.moving_variance, self.eps)
        ops.move_statistics(x, self.moving_mean, self.moving_variance, self.momentum, 1.0 - self.momentum)
        return ops._batch_norm(x, self.gamma, self.beta, None, None, self.eps)

    def _check(self, x: Tensor) -> None:
        layer = type(self).__name__
        shapes = (f"float32[N, {self.num_features}{rest}]" for rest in self.trailing.values())
        expected = " or ".join(shapes)
        if x.ndim not in self.trailing:
            raise ShapeError(
                f"{layer}: the input has another number of axes",
                **here(),
                expected=expected,
                given=x.type.describe(),
            )
        if x.shape[1] != self.num_features:
            raise ShapeError(
                f"{layer}: the input has another number of channels", **here(), expected=expected,
                given=x.type.describe(), fix=f"write nn.{layer}({x.shape[1]}), or change the layer before it",
            )  # fmt: skip
        check_floating(layer, x, expected)

    def extend_repr(self) -> str:
        return f"num_features={self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"


class BatchNorm1d(_BatchNorm):
    trailing: ClassVar = {2: "", 3: ", L"}


class BatchNorm2d(_BatchNorm):
    trailing: ClassVar = {4: ", H, W"}


class BatchNorm3d(_BatchNorm):
    trailing: ClassVar = {5: ", D, H, W"}


BatchNorm1d.__doc__ = f"Input (N, num_features) or (N, num_features, L). {_BatchNorm.__doc__}"
BatchNorm2d.__doc__ = f"Input (N, num_features, H, W). {_BatchNorm.__doc__}"
BatchNorm3d.__doc__ = f"Input (N, num_features, D, H, W). {_BatchNorm.__doc__}"


class LayerNorm(Cell):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta over the axes from `begin_norm_axis` on.

    `gamma` and `beta` have the shape `normalized_shape` (an int, or several), which is that of the input's axes from
    `begin_params_axis` on. `has_bias=False` leaves `beta` out.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        begin_norm_axis: int = -1,
        begin_params_axis: int = -1,
        gamma_init: object = "ones",
        beta_init: object = "zeros",
        epsilon: float = 1e-7,
        dtype: object = "float32",
        *,
        has_bias: bool = True,
    ):
        super().__init__()
        from ..common.initializer import initializer

        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        if not shape:
            raise ArgumentError(
                "LayerNorm: normalized_shape is empty", **here(), expected="one extent or more", given="()"
            )
        for extent in shape:
            positive_int("LayerNorm", normalized_shape=extent)
        self.normalized_shape = tuple(int(e) for e in shape)
        self.begin_norm_axis, self.begin_params_axis = int(begin_norm_axis), int(begin_params_axis)
        self.epsilon, self.has_bias = check_epsilon("LayerNorm", epsilon), bool(has_bias)
        element_type = as_dtype(dtype)
        self.gamma = Parameter(initializer(gamma_init, self.normalized_shape, element_type))
        self.beta: Parameter | None = None
        if has_bias:
            self.beta = Parameter(initializer(beta_init, self.normalized_shape, element_type))

    def construct(self, x: Tensor) -> Tensor:
        start = self.begin_params_axis + (x.ndim if self.begin_params_axis < 0 else 0)
        if not 0 <= start < x.ndim or tuple(x.shape[start:]) != self.normalized_shape:
            expected = ", ".join(map(str, self.normalized_shape))
            count = len(self.normalized_shape)
            fix = None
            if tuple(x.shape[-count:]) == self.normalized_shape:
                fix = f"give begin_norm_axis=-{count} and begin_params_axis=-{count}"
            raise ShapeError(
                "LayerNorm: the last axes of the input are not normalized_shape", **here(),
                expected=f"float32[..., {expected}]", given=x.type.describe(), fix=fix,
            )  # fmt: skip
        return ops.layer_norm(
            x, self.gamma, self.beta, self.begin_norm_axis, self.begin_params_axis, self.epsilon
        )

    def extend_repr(self) -> str:
        return (
            f"normalized_shape={self.normalized_shape}, begin_norm_axis={self.begin_norm_axis}, "
            f"begin_params_axis={self.begin_params_axis}, has_bias={self.has_bias}"
        )
