"""What a kernel has to do at least: floating-point operations and bytes, from the nodes it computes.

In: a Group and the slots of its schedule. Out: `Work`.

Operations: `Op.flops` of every node the kernel computes, inlined ones included, each element once. Contractions count
only terms inside the left operand and inside known bands (`schedule/bands.py`): what falls into padding or beyond a
causal mask is zero and needs no multiplication. Winograd's convolutions count what they really compute, transforms
included, not what a direct convolution would. Elementwise
operations count one per element whatever they are, so kernels full of exp are busier than their number says.
Bytes: every stored tensor the kernel reads and every one it writes, once each, as far as it is needed: a gather of 32
rows from a large column counts 32 rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..ir import Node, TensorType
from ..ops.base import Contraction, ContractionOp
from ..schedule.bands import useful_share
from ..schedule.costs import is_plain
from ..schedule.group import Group
from ..schedule.plan import Slot


@dataclass(frozen=True)
class Work:
    """Of one run of a kernel."""

    flops: int
    bytes_read: int
    bytes_written: int

    @property
    def bytes(self) -> int:
        return self.bytes_read + self.bytes_written


def group_work(group: Group, slots: Mapping[Node, Slot]) -> Work:
    """Operations and bytes of one kernel."""
    computed, needed = _needed_elements(group, slots)
    flops = 0.0
    for node in computed:
        share = useful_share(node, group.stores) if node is group.anchor else 1.0
        flops += _flops(node) * share * min(1.0, needed[node] / max(1, node.type.size))
    read = sum(
        count * node.dtype.size
        for node, count in needed.items()
        if node in slots and node not in group.members
    )
    written = sum(node.type.bytes for node in group.stores)
    return Work(round(flops), read, written)


def _needed_elements(group: Group, slots: Mapping[Node, Slot]) -> tuple[list[Node], dict[Node, int]]:
    """The nodes the kernel computes, users first, and of these and of what they read: how many elements are needed."""
    roots = list(group.stores)
    if group.anchor is not None and group.anchor not in group.stores:
        roots.append(group.anchor)
    computed = list(_users_first(roots, group, slots))
    needed = {node: node.type.size for node in roots}
    for node in computed:
        # Elementwise work and views need no more of an operand than is needed of them; windows, reductions and
        # contractions meet every element.
        for operand in node.inputs:
            count = needed[node] if is_plain(node) else operand.type.size
            needed[operand] = min(operand.type.size, needed.get(operand, 0) + count)
    return computed, needed


def _users_first(roots: Sequence[Node], group: Group, slots: Mapping[Node, Slot]) -> Iterator[Node]:
    """Everything between the roots and what lives in memory, in reverse topological order."""
    order: list[Node] = []
    done: set[Node] = set()
    stack = [(node, False) for node in roots]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
        elif node not in done:
            done.add(node)
            stack.append((node, True))
            inside = (i for i in node.inputs if not i.is_input and (i not in slots or i in group.members))
            stack.extend((operand, False) for operand in inside)
    return reversed(order)


def _flops(node: Node) -> int:
    types = [operand.type for operand in node.inputs]
    own_count = (
        type(node.op).flops is not ContractionOp.flops
    )  # Winograd's algorithm, pairs: other operations
    if isinstance(node.op, ContractionOp) and not own_count:
        return 2 * contraction_terms(node.op.contraction(types), types[0])
    return node.op.flops(*types)


def contraction_terms(spec: Contraction, left: TensorType) -> int:
    """How many products of a contraction exist: those whose left coordinate lies inside the left operand."""
    extents = spec.output + spec.reduce
    rank = len(extents)
    index = [
        np.arange(extent).reshape([-1 if axis == k else 1 for axis in range(rank)])
        for k, extent in enumerate(extents)
    ]
    coordinates = spec.left_index(index[: len(spec.output)], index[len(spec.output) :])
    exists = np.ones([1] * rank, bool)
    for axis, (coordinate, extent) in enumerate(zip(coordinates, left.shape)):
        step = spec.step[axis] if spec.step is not None else 1
        at = np.asarray(coordinate)
        inside = (at >= 0) & (at < extent * step) & (at % step == 0)
        if not inside.all():  # most axes never leave the operand: the mask stays small
            exists = exists & inside
    repeats = 1
    for extent, kept in zip(extents, exists.shape):
        repeats *= extent if kept == 1 else 1
    return int(np.count_nonzero(exists)) * repeats
