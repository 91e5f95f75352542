"""A convolution's weight gradient before its last addition: one sum for every lane of samples.

In: image and cotangent. Out: the weight gradient with a last axis of `lanes` partial sums. `passes/lane_sums.py` makes
it, where the sums over lanes would otherwise be folded again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ..errors import ShapeError
from ..ir import Node, TensorType
from .base import Contraction, ContractionOp, Index
from .contractions import Conv2dBackwardWeight, batch_weight_gradient


@dataclass(frozen=True)
class Conv2dBackwardWeightLanes(ContractionOp):
    """(x: N,C,H,W; dy: N,O,OH,OW) -> (*weight_shape, lanes): entry [..., l] is the weight gradient of the samples l,
    l + lanes, l + 2 lanes, ... N is a multiple of lanes. Made after differentiation, so it has no gradient."""

    lanes: int
    weight_shape: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def whole(self) -> Conv2dBackwardWeight:
        """The op whose parts these are."""
        names = [field.name for field in fields(self) if field.name != "lanes"]
        return Conv2dBackwardWeight(**{name: getattr(self, name) for name in names})

    def infer(self, *types: TensorType) -> TensorType:
        if self.lanes < 1 or types[0].shape[0] % self.lanes:
            raise ShapeError(
                f"{self.name}: the batch must be a multiple of lanes",
                expected=f"a multiple of {self.lanes}", given=types[0].describe(),
            )  # fmt: skip
        result = self.whole.infer(*types)
        return TensorType((*result.shape, self.lanes), result.dtype)

    def evaluate(self, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        whole = self.whole
        parts = [whole.evaluate(x[lane :: self.lanes], dy[lane :: self.lanes]) for lane in range(self.lanes)]
        return np.stack(parts, axis=-1)

    def contraction(self, types: Sequence[TensorType]) -> Contraction:
        whole = self.whole.contraction(types)

        def sample(i: Sequence[Index], r: Sequence[Index]) -> tuple[Index, ...]:
            return r[0] * self.lanes + i[-1], *r[1:]

        return Contraction(
            output=(*whole.output, self.lanes),
            reduce=(whole.reduce[0] // self.lanes, *whole.reduce[1:]),
            left_index=lambda i, r: whole.left_index(i[:-1], sample(i, r)),
            right_index=lambda i, r: whole.right_index(i[:-1], sample(i, r)),
        )

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return batch_weight_gradient(self, size, x, batched)
