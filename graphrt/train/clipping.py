"""Gradient clipping, between the backward pass and the optimizer.

In: the gradients of all parameters (traced or eager Tensors). Out: gradients no larger than asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ArgumentError
from ..frontend.location import user_source


@dataclass(frozen=True)
class GradientClipping:
    """`value`: every element is clipped to [-value, value]. `norm`: all gradients together are scaled down to this
    Euclidean length, g * norm / max(length, norm) (Pascanu et al. 2013). Both: first the elements. None: not clipped.
    """

    value: float | None = None
    norm: float | None = None

    def __post_init__(self) -> None:
        for name, limit in (("clip_value", self.value), ("clip_norm", self.norm)):
            number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
            if limit is not None and not (number and limit > 0):
                raise ArgumentError(
                    f"Model: {name} must be a positive number or None", at=user_source(), expected="> 0",
                    given=f"{name}={limit!r}",
                )  # fmt: skip

    def __bool__(self) -> bool:
        return self.value is not None or self.norm is not None

    def __call__(self, gradients: Sequence[Any]) -> Sequence[Any]:
        from .. import ops

        if self.value is not None:
            gradients = [ops.clip(g, -float(self.value), float(self.value)) for g in gradients]
        if self.norm is not None:
            gradients = ops.clip_by_global_norm(gradients, float(self.norm))
        return gradients
