"""What it costs to compute a value again, and the numbers that decisions about fusion rest on.

In: a node. Out: the work of one of its elements, the memory of its operands. Costs count roughly one per floating-point
operation of an element.
"""

from __future__ import annotations

from ..ir import Node, Op
from ..ops import random as random_ops
from ..ops import views
from ..ops.base import ContractionOp, ElementOp, TiledProductOp, ViewOp

# Heuristics of fusion, in one place.
EXPENSIVE = {
    "exp": 12, "log": 14, "log1p": 18, "expm1": 16, "tanh": 16, "sigmoid": 14, "erf": 20, "pow": 30, "sin": 20,
    "cos": 20, "normal_cdf": 24, "normal_density": 12, "sqrt": 6, "rsqrt": 6, "div": 4, "remainder": 8, "floor_div": 8,
}  # fmt: skip
RECOMPUTE_LIMIT = 1.5  # an element may be recomputed when the extra work stays below this
STREAMED_LIMIT = 8.0  # the same where storing it would cost a pass through main memory, and no read is saved
POSITIONAL_LIMIT = 3  # work up to which a value that reads nothing is computed wherever it is used
SHORT_AXIS = 8  # an output axis too short to be worth vectorising along
CACHED_BYTES = 1 << 20  # what one core's L2 cache holds
SCATTER_TERMS = 32  # products per result from which scattering results costs less than a sweep of its own
WIDEST_LANES = 16  # of any processor's vectors
DEPTH_LIMIT = 40  # longest chain of inlined nodes
SUM_BLOCKS = 8  # blocks of lanes from which the axes a sum keeps are enough to divide among threads
SWEEP_RESULTS = 8  # results of the widest sweep made of groups that read one buffer


def is_window(op: Op) -> bool:
    """Whether an element of `op` reads several neighbouring elements."""
    return hasattr(op, "window")


def is_plain(node: Node) -> bool:
    """Whether an element of `node` depends on one element of each operand, or of what is broadcast."""
    return isinstance(node.op, ElementOp) and not is_window(node.op)


def is_virtual(node: Node) -> bool:
    """Whether the op of `node` is one whose values are only ever computed inside their readers."""
    return isinstance(node.op, ElementOp) and node.op.virtual


def element_cost(node: Node) -> float:
    """Work of one element of `node`, operands excluded."""
    op = node.op
    if is_window(op):
        return 4.0
    if isinstance(op, random_ops.RandomBits):
        return 60.0
    if isinstance(op, ViewOp | views.Constant | views.Iota):
        return 0.0
    if isinstance(op, views.Pad | views.Concat | views.Gather):
        return 1.0
    return float(EXPENSIVE.get(op.name, 1.0))


def inlined_cost(node: Node) -> float:
    """Work of recomputing one element, down to views of it (a producer's own inlining is decided later)."""
    own = element_cost(node)
    if own == 0.0 and node.inputs and isinstance(node.op, ViewOp):
        return max((inlined_cost(i) if isinstance(i.op, ViewOp) else 0.0) for i in node.inputs)
    return own + 0.5 * max(0, len(node.inputs) - 1)


def recompute_limit(node: Node) -> float:
    """Extra work allowed to keep a node out of memory: more for large ones that are computed from one other large tensor
    (a normalized activation), since readers would read that many bytes either way."""
    whole = sum(i.type.size == node.type.size and not isinstance(i.op, views.Broadcast) for i in node.inputs)
    return STREAMED_LIMIT if whole <= 1 and node.type.bytes > CACHED_BYTES else RECOMPUTE_LIMIT


def reads_per_element(node: Node, user: Node) -> float:
    """How often `user` evaluates each element of its operand `node`."""
    op = user.op
    if isinstance(op, ContractionOp | TiledProductOp):
        return 64.0
    if is_window(op):
        return 4.0
    if isinstance(op, views.Gather) and node is user.inputs[0]:
        return max(1.0, user.type.size / max(1, node.type.size))
    if isinstance(op, ElementOp) and not isinstance(op, views.Concat):
        return max(1.0, user.type.size / max(1, node.type.size)) if node.type.size else 1.0
    return 1.0


def operand_bytes(node: Node) -> int:
    """Memory the operands of a node take, what is never stored counted by its own operands."""
    return sum(operand_bytes(n) if is_virtual(n) else n.type.bytes for n in node.inputs)
