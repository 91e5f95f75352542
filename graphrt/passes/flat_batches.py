"""A batch whose samples are seen as vectors is gathered as vectors.

    before:  %2 = gather(%0, %1) : u8[64,28,28], %3 = cast(%2), %4 = div(%3, 255)
             %5 = reshape(%4) : f32[64,784]
    after:   %2 = reshape(%0) : u8[60000,784], %3 = gather(%2, %1) : u8[64,784], %4 = cast(%3), %5 = div(%4, 255)

The loops over a sample then have one axis of full vectors instead of several with a partly filled one at the end of each.
"""

from __future__ import annotations

from ..ir import Graph, Node, TensorType, apply, rewrite
from ..ops.base import Elementwise
from ..ops.gathering import Gather
from ..ops.views import Reshape, Transpose
from .constants import uniform, uniform_value


def flat_batches(graph: Graph) -> Graph:
    """Moves reshapes that join the axes of a sample in front of the elementwise work on a gathered batch, where nothing
    else reads what is in between."""
    users = graph.users()
    roots = set(graph.roots)

    def flattened(node: Node, shape: tuple[int, ...]) -> Node | None:
        """`node`, computed in `shape`; None if it is no such batch."""
        if node in roots or len(users[node]) != 1:
            return None
        if isinstance(node.op, Gather) and node.op.axis == 0 and all(x.is_input for x in node.inputs):
            column, indices = node.inputs
            if len(indices.shape) != 1 or shape[0] != indices.shape[0]:
                return None
            rows = apply(Reshape((column.shape[0], *shape[1:])), column, source=node.source)
            return apply(node.op, rows, indices, source=node.source)
        if isinstance(node.op, Transpose) and _moves_nothing(node):
            return flattened(node.inputs[0], shape)
        if not isinstance(node.op, Elementwise):
            return None
        operands = []
        for operand in node.inputs:
            number = uniform_value(operand)
            if number is not None:
                operands.append(uniform(TensorType(shape, operand.dtype), number))
                continue
            inner = flattened(operand, shape)
            if inner is None:
                return None
            operands.append(inner)
        return apply(node.op, *operands, source=node.source)

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        if isinstance(node.op, Reshape) and 1 < len(node.shape) < len(node.inputs[0].shape):
            return flattened(node.inputs[0], node.shape)
        return None

    return rewrite(graph, rule)


def _moves_nothing(transpose: Node) -> bool:
    """Whether the elements stay in their order: only axes of extent 1 change places, such as the channel of gray images."""
    shape = transpose.inputs[0].shape
    moved = [axis for axis in transpose.op.permutation if shape[axis] != 1]  # type: ignore[attr-defined]
    return moved == sorted(moved)
