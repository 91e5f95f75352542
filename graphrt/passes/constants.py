"""Constants as passes see them: nodes known to hold one repeated number, and how to make such nodes."""

from __future__ import annotations

import numpy as np

from ..ir import Node, TensorType
from ..ops import build
from ..ops.views import Broadcast, Constant


def uniform(type: TensorType, number: object) -> Node:
    """A node of `type` with `number` in every element: a broadcast scalar, which needs no storage."""
    return build.broadcast_to(build.constant(np.asarray(number).astype(type.dtype.numpy)), type.shape)


def uniform_value(node: Node) -> np.ndarray | None:
    """The number in every element of `node`, as a 0-d array of its element type; None if there is no such number."""
    while isinstance(node.op, Broadcast):
        node = node.inputs[0]
    op = node.op
    if not isinstance(op, Constant) or not op.value.array.size:
        return None
    elements = op.value.array.reshape(-1)
    # the comparison of two elements settles most arrays without reading them
    if elements[0].tobytes() != elements[-1].tobytes() or not op.is_uniform():
        return None
    return elements[:1].reshape(())
