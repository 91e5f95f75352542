"""Copy: the identity as an op of its own, for places where a second buffer with the same values is wanted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ir import Node
from .base import ElementBuilder, Elementwise, Scalar


@dataclass(frozen=True)
class Copy(Elementwise):
    """The operand's values in a buffer of their own. `reason` says why the scheduler made it: "layout" (another
    physical order), "root" (a result that is also an input or another result) or "update" (a state that may only be
    overwritten after its last reader)."""

    reason: str = "layout"

    kinds = ("float", "int", "uint", "bool")

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.array(x, copy=True)

    def vjp(self, g: Node, y: Node, x: Node) -> tuple[Node | None, ...]:
        return (g if x.dtype.is_float else None,)

    def scalar(self, b: ElementBuilder, x: Scalar) -> Scalar:
        return x
