"""Gelu: a composite with its own gradient. The other activations are a few build functions each, see
`build_activations.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ArgumentError, DTypeError
from ..ir import Node, TensorType, apply
from .base import CompositeOp
from .deferred import build

_INNER, _CUBE = math.sqrt(2.0 / math.pi), 0.044715  # the constants of the tanh form


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
        from .elementwise import Erf

        wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x
        with np.errstate(all="ignore"):
            if self.approximate == "tanh":
                weight = np.tanh(_INNER * (wide + _CUBE * wide * wide * wide))
            else:
                weight = Erf().evaluate(wide * wide.dtype.type(math.sqrt(0.5)))
            return np.asarray(wide * 0.5 * (1 + weight)).astype(x.dtype, copy=False)

    def _weight(self, x: Node) -> Node:
        """What grows from -1 to 1 with x: the result is x / 2 * (1 + weight)."""
        if self.approximate == "tanh":
            cubic = build.mul(build.mul(x, x), build.mul(x, _CUBE))
            return build.tanh(build.mul(build.add(x, cubic), _INNER))
        return build.erf(build.mul(x, math.sqrt(0.5)))

    def expand(self, *x: Node) -> Node:
        return build.mul(build.mul(x[0], 0.5), build.add(self._weight(x[0]), 1.0))

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        weight, half = self._weight(x[0]), build.mul(x[0], 0.5)
        square = build.mul(x[0], x[0])
        if self.approximate == "tanh":
            inner = build.add(build.mul(square, 3 * _CUBE * _INNER), _INNER)
            growth = build.mul(build.sub(1.0, build.mul(weight, weight)), inner)
        else:
            growth = build.mul(build.exp(build.mul(square, -0.5)), math.sqrt(2.0 / math.pi))
        slope = build.add(build.mul(build.add(weight, 1.0), 0.5), build.mul(half, growth))
        return (build.mul(g, slope),)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return apply(self, x[0])

    def flops(self, *types: TensorType) -> int:
        return 8 * types[0].size
