"""Fully connected layers.

In: tensors (..., in_channels). Out: tensors (..., out_channels).
"""

from __future__ import annotations

import math
from typing import Any

from ..context import get_context
from ..dtypes import DType, as_dtype
from ..errors import ArgumentError, DTypeError, ShapeError
from ..frontend import functional as ops
from ..frontend.cell import Cell
from ..frontend.location import cell_path, user_line
from ..frontend.parameter import Parameter
from ..frontend.tensor import Tensor
from .activation import get_activation


def here() -> dict[str, Any]:
    """Cell path and user line, as error arguments."""
    file, line = user_line()
    return {"cell": cell_path(), "at": f"{file}:{line}" if file else None}


def check_floating(layer: str, x: Tensor, expected: str, dtype: object = "float32") -> None:
    """Raise DTypeError unless the elements of `x` are floating-point; `dtype` is the type to convert them to."""
    if not x.dtype.is_float:
        raise DTypeError(
            f"{layer}: the input must be floating-point", **here(), expected=expected, given=x.type.describe(),
            fix=f"write x.astype(graphrt.{dtype})",
        )  # fmt: skip


def positive_int(layer: str, **values: Any) -> None:
    """Raise ArgumentError unless every value is an int > 0."""
    for name, value in values.items():
        if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 1:
            raise ArgumentError(
                f"{layer}: {name} must be a positive int", **here(), given=f"{name}={value!r}"
            )


def weight_and_bias(
    weight_init: object, bias_init: object, shape: tuple[int, ...], outputs: int, has_bias: bool, dtype: DType
) -> tuple[Parameter, Parameter | None]:
    """The Parameters of a layer that multiplies: a weight of `shape` and, with `has_bias`, a bias of (outputs,).

    Without initialisers of the user's both are U(-1/sqrt(fan_in), 1/sqrt(fan_in)), fan_in being the product of all axes of
    the weight but the first; with `compat` "1.1" N(0, 0.01) and zeros.
    """
    from ..common.initializer import HeUniform, Normal, Uniform, initializer

    first_release = get_context("compat") == "1.1"
    if weight_init is None:
        weight_init = Normal(0.01) if first_release else HeUniform(math.sqrt(5))
    weight = Parameter(initializer(weight_init, shape, dtype))
    if not has_bias:
        return weight, None
    if bias_init is None:
        bias_init = "zeros" if first_release else Uniform(1.0 / math.sqrt(math.prod(shape[1:])))
    return weight, Parameter(initializer(bias_init, (outputs,), dtype))


class Dense(Cell):
    """y = activation(x weight^T + bias).

    `weight` is (out_channels, in_channels), by default U(-1/sqrt(in), 1/sqrt(in)); `bias` (out_channels,), same bound.
    `weight_init`, `bias_init`: anything `initializer` takes. `activation`: a name, a Cell, or None.
    Input: float (..., in_channels); raises ShapeError otherwise.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        weight_init: object = None,
        bias_init: object = None,
        has_bias: bool = True,
        activation: object = None,
        dtype: object = "float32",
    ):
        super().__init__()
        positive_int("Dense", in_channels=in_channels, out_channels=out_channels)
        self.in_channels, self.out_channels = int(in_channels), int(out_channels)
        self.has_bias, self.dtype = bool(has_bias), as_dtype(dtype)
        shape = (self.out_channels, self.in_channels)
        self.weight, self.bias = weight_and_bias(
            weight_init, bias_init, shape, self.out_channels, self.has_bias, self.dtype
        )
        self.activation = get_activation(activation)

    def construct(self, x: Tensor) -> Tensor:
        expected = f"{self.dtype}[..., {self.in_channels}]"
        if x.ndim == 0 or x.shape[-1] != self.in_channels:
            raise ShapeError(
                "Dense: the last axis of the input is not in_channels", **here(),
                expected=expected, given=x.type.describe(), fix=self._shape_fix(x),
            )  # fmt: skip
        check_floating("Dense", x, expected, self.dtype)
        y = ops.dense(x, self.weight, self.bias)
        return y if self.activation is None else self.activation(y)

    def _shape_fix(self, x: Tensor) -> str:
        if x.ndim > 2 and math.prod(x.shape[1:]) == self.in_channels:
            return "put nn.Flatten() in front"
        found = x.shape[-1] if x.ndim else 1
        return f"write nn.Dense({found}, {self.out_channels}), or change the layer before it"

    def extend_repr(self) -> str:
        return f"input_channels={self.in_channels}, output_channels={self.out_channels}, has_bias={self.has_bias}"


Linear = Dense
