"""Gelu, a composite with its own gradient, and the functions of the normal distribution it is made of. The other
activations are a few build functions each, see `build_activations.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ArgumentError, DTypeError
from ..ir import Node, TensorType, apply
from .base import CompositeOp
from .deferred import build
from .elementwise import FloatUnary

_INNER, _CUBE = math.sqrt(2.0 / math.pi), 0.044715  # the constants of the tanh form
_erfc = np.frompyfunc(math.erfc, 1, 1)


def _wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64, copy=False)


@dataclass(frozen=True)
class NormalCdf(FloatUnary):
    """The distribution function of the standard normal distribution: the integral of its density from -infinity to x."""

    rule = "normal_cdf"

    @staticmethod
    def ufunc(x: np.ndarray) -> np.ndarray:
        return np.asarray(_erfc(_wide(x) * -math.sqrt(0.5)) * 0.5)

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (build.mul(g, build.normal_density(x[0])),)


@dataclass(frozen=True)
class NormalDensity(FloatUnary):
    """The density of the standard normal distribution: exp(-x^2 / 2) / sqrt(2 pi)."""

    rule = "normal_density"

    @staticmethod
    def ufunc(x: np.ndarray) -> np.ndarray:
        return np.exp(-0.5 * np.square(_wide(x))) * math.sqrt(0.5 / math.pi)

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (build.neg(build.mul(g, build.mul(x[0], y))),)


@dataclass(frozen=True)
class Gelu(CompositeOp):
    """x times the standard normal distribution function of x. `approximate`: "none" (with erf) or "tanh":
    x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))."""

    approximate: str = "none"

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        if self.approximate not in ("none", "tanh"):
            raise ArgumentError(
                "gelu: unknown approximation", expected="'none' or 'tanh'", given=repr(self.approximate)
            )
        if not x.dtype.is_float:
            raise DTypeError("gelu: element type not accepted", expected="float", given=x.describe())
        return x

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x
        with np.errstate(all="ignore"):
            if self.approximate == "tanh":
                share = 0.5 * (1 + np.tanh(_INNER * (wide + _CUBE * wide * wide * wide)))
            else:
                share = NormalCdf().evaluate(wide)
            return np.asarray(wide * share).astype(x.dtype, copy=False)

    def _growth(self, x: Node) -> Node:
        """What grows from -1 to 1 with x in the tanh form: the result is x / 2 * (1 + growth)."""
        cubic = build.mul(build.mul(x, x), build.mul(x, _CUBE))
        return build.tanh(build.mul(build.add(x, cubic), _INNER))

    def expand(self, *x: Node) -> Node:
        if self.approximate == "none":
            return build.mul(x[0], build.normal_cdf(x[0]))
        return build.mul(build.mul(x[0], 0.5), build.add(self._growth(x[0]), 1.0))

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        if self.approximate == "none":
            slope = build.add(build.normal_cdf(x[0]), build.mul(x[0], build.normal_density(x[0])))
            return (build.mul(g, slope),)
        growth, half = self._growth(x[0]), build.mul(x[0], 0.5)
        inner = build.add(build.mul(build.mul(x[0], x[0]), 3 * _CUBE * _INNER), _INNER)
        bend = build.mul(build.sub(1.0, build.mul(growth, growth)), inner)
        slope = build.add(build.mul(build.add(growth, 1.0), 0.5), build.mul(half, bend))
        return (build.mul(g, slope),)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return apply(self, x[0])

    def flops(self, *types: TensorType) -> int:
        return 8 * types[0].size
