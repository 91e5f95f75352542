"""How much a step computes, how long its kernels take about, and how many threads that is worth.

All numbers that decide between one thread and several, and between work done twice and waiting, are in this file.
"""

from __future__ import annotations

from collections.abc import Container

from ..ir import Graph, Node
from ..ops.base import ContractionOp, ReductionOp, TiledProductOp
from .costs import CACHED_BYTES, element_cost
from .group import Group

# A single call of fewer operations stays on the calling thread: handing over to another one takes some microseconds.
SINGLE_THREAD_FLOPS = 4_000_000

# Times in nanoseconds, of an x86 processor with 512-bit vectors at about 4 GHz. They only need to be right relative to
# each other, and constants keep programs the same on every machine of a kind.
OPERATION = 1 / 57  # one element's multiply-add, or an elementwise operation of cost 1, in full vectors
KERNEL = 10.0  # calling a kernel
BARRIER = 150.0  # per thread: waiting for each other, and fetching what the others wrote
SWEPT = 70.0  # bytes per nanosecond that a sweep reads and writes in the thread's own cache
LINE_MOVED = 4.0  # a cache line that comes from another thread's cache, or is taken out of it, many on their way at once
SHARED_SWEEP = 500.0  # for all the lines moved by a sweep: from here on another division of it is considered

SINK_GAIN = (
    0.8  # a sink uses several threads if its steps should take less than this part of their time on one
)
REPEATED = 150.0  # what every thread may compute for itself, in all between two barriers, instead of waiting
LARGE_STEP = (
    200_000.0  # a step on one thread from which on its kernels are what counts, not the barriers between them
)
SMALL_STEP = 100_000.0  # a step on one thread up to which two threads may be better than many
SMALL_KERNEL = (
    20_000.0  # another division of a kernel is considered up to here: a barrier is nothing beside more
)
LIGHT_BYTES = (
    16 << 10
)  # a kernel touching less may run later than planned: it displaces nothing from the cache
NEAR_BYTES = CACHED_BYTES // 2  # a step whose memory fits in here may run in any order
UNSHARED_BYTES = (
    CACHED_BYTES // 4
)  # temporaries up to here need not share memory, where sharing costs barriers


def total_flops(graph: Graph) -> int:
    """The arithmetic of one run of `graph`, by its ops' own counts."""
    return sum(n.op.flops(*(i.type for i in n.inputs)) for n in graph.nodes() if not n.is_input)


def useful_threads(graph: Graph, available: int) -> int:
    """`available`, or 1 for a step too small to gain from a second thread in a single call."""
    return 1 if total_flops(graph) < SINGLE_THREAD_FLOPS else available


def worth_dividing(alone: float, together: float) -> bool:
    """Whether steps that take `alone` nanoseconds on one thread, and `together` on several, should use several."""
    return together < SINK_GAIN * alone


def group_nanoseconds(group: Group, stored: Container[Node]) -> float:
    """About how long one thread computes a group whose operands, the `stored` nodes, are in its cache."""
    operations = float(sum(node.type.size for node in group.stores))
    stack = [*group.stores, *([group.anchor] if group.anchor is not None else [])]
    seen: set[Node] = set()
    while stack:
        node = stack.pop()
        if node in seen or node.is_input or (node in stored and node not in group.members):
            continue
        seen.add(node)
        types = [operand.type for operand in node.inputs]
        if isinstance(node.op, ContractionOp | TiledProductOp):
            operations += node.op.flops(*types) / 2
        elif isinstance(node.op, ReductionOp):
            operations += sum(type.size for type in types)
        else:
            operations += node.type.size * element_cost(node)
        stack.extend(node.inputs)
    return KERNEL + operations * OPERATION
