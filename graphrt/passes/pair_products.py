"""Matrix products of bfloat16 tensors become products of pairs, where the processor has an instruction for them.

    before:  %2 = matmul(%0, %1) : bf16[64,32]                     %0 : bf16[64,100], %1 : bf16[100,32]
    after:   %2 = pack_pairs(%0, axis=1) : u32[64,50]
             %3 = pack_pairs(%1, axis=0) : u32[50,32]
             %4 = mat_mul_pairs(%2, %3) : f32[64,32]
             %5 = cast(%4, dtype=bfloat16) : bf16[64,32]

One instruction then multiplies and adds twice as many terms as in float32; sums stay float32 and are rounded once.
"""

from __future__ import annotations

from ..dtypes import bfloat16
from ..ir import Graph, Node, apply, rewrite
from ..ops.contractions import MatMul
from ..ops.elementwise import Cast
from ..ops.pairs import MatMulPairs, PackPairs
from ..ops.views import Transpose

LEAST_REUSE = 8  # rows and columns below which packing the operands costs more than it saves
LEAST_TERMS = 8


def pair_products(graph: Graph, available: bool) -> Graph:
    """Rewrites the products worth packing for; `available`: whether the processor has the instruction."""
    return rewrite(graph, _rule) if available else graph


def _rule(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    if not isinstance(node.op, MatMul) or node.dtype != bfloat16:
        return None
    x, y = inputs
    rows, terms, columns = x.shape[-2], x.shape[-1], y.shape[-1]
    if min(rows, columns) < LEAST_REUSE or terms < LEAST_TERMS:
        return None
    rank = x.type.rank
    product = apply(MatMulPairs(), _packed(x, rank - 1), _packed(y, rank - 2))
    return apply(Cast(bfloat16), product)


def _packed(x: Node, axis: int) -> Node:
    """The pairs of x along an axis; of a transposed tensor, the transposed pairs: memory is read in its own order."""
    if isinstance(x.op, Transpose):
        order = x.op.permutation
        return apply(Transpose(order), _packed(x.inputs[0], order[axis]))
    return apply(PackPairs(axis), x)
