"""StopGradient: the identity that no gradient passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..ir import Node, TensorType, apply
from .base import CompositeOp


@dataclass(frozen=True)
class StopGradient(CompositeOp):
    """x itself, as a constant for differentiation. Nothing is left of it once gradients are made."""

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        return x

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return x

    def expand(self, *x: Node) -> Node:
        return x[0]

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[None]:
        return (None,)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return apply(self, x[0])

    def flops(self, *types: TensorType) -> int:
        return 0
