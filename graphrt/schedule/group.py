"""What one kernel computes: the `Group`, and what it reads.

In: a stored node of a graph. Out: a group of its own, which others may join (`joining.py`, `fuse.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..ir import Node
from ..loops.index import Index, Var, as_index, linear, replace, row_major_strides
from ..ops import views
from ..ops.base import ElementOp, ReductionOp
from .compose import ReadRecorder
from .layout import Layout


@dataclass(eq=False)
class Group:
    """One kernel: `anchor` is computed by a strategy, `stores` are results over `domain`, in dependency order,
    and sums along axes of it (`partial_sums.py`).

    A result may have another shape than `domain` with as many elements: it is then a reshape of it (`position_in`).
    `window`: the results are one per window of these extents over the last two axes of the anchor."""

    anchor: Node | None
    stores: list[Node]
    domain: tuple[int, ...]
    members: set[Node] = field(default_factory=set)  # stored or anchor nodes computed here
    reads: dict[Node, list[tuple[Index, ...]]] = field(default_factory=dict)
    anchor_reads: set[Node] = field(default_factory=set)
    identity: tuple[Index, ...] = ()  # the index variables `reads` is expressed in
    layout: Layout | None = None
    window: tuple[int, int] | None = None
    name: str = ""

    @property
    def lead(self) -> Node:
        return self.anchor if self.anchor is not None else self.stores[0]

    @property
    def sums(self) -> list[Node]:
        """Those of `stores` that add up values at the points of the domain along some of its axes."""
        return [n for n in self.stores if n is not self.anchor and isinstance(n.op, ReductionOp)]

    @property
    def results(self) -> list[Node]:
        """Those of `stores` that have an element at every point."""
        return [n for n in self.stores if n is self.anchor or not isinstance(n.op, ReductionOp)]

    @property
    def summed_axes(self) -> list[frozenset[int]]:
        """The axes of the domain that each of `sums` runs along."""
        return [frozenset(n.op.axes) for n in self.sums]  # type: ignore[attr-defined]

    @property
    def operands(self) -> set[Node]:
        """The stored nodes and inputs that the kernel reads, those it computes itself included."""
        return set(self.reads) | self.anchor_reads

    def position_in(self, shape: tuple[int, ...], index: Sequence[Index]) -> tuple[Index, ...]:
        """The position, in a result of `shape`, of the point `index` of the domain."""
        if shape == self.domain:
            return tuple(index)
        return tuple(as_index(i) for i in views.reshaped_position(index, self.domain, shape))

    def is_own_point(self, shape: tuple[int, ...], index: Sequence[Index]) -> bool:
        """Whether `index` of a tensor of `shape`, in this group's variables, is the element at the domain's own point."""
        if shape == self.domain:
            return tuple(index) == self.identity
        own = linear(self.identity, row_major_strides(self.domain))
        return linear(tuple(index), row_major_strides(shape)) == own

    def absorb(self, other: Group) -> None:
        """Compute and store what `other` does; nothing is left of `other`."""
        renamed: dict[Var, Index] = {}
        for own, new in zip(other.identity, self.position_in(other.domain, self.identity)):
            renamed |= {var: new for var in own.vars()}
        for node, indices in other.reads.items():
            if node not in self.members:
                self.reads.setdefault(node, []).extend(
                    tuple(replace(i, renamed) for i in index) for index in indices
                )
        self.anchor_reads |= other.anchor_reads
        self.stores += other.stores
        self.members |= other.members
        other.stores = []


def single_group(node: Node, layout: Layout | None, is_stored: Callable[[Node], bool]) -> Group:
    """The group that computes `node` alone. `layout`: the wanted one, whose margins are the node's own affair."""
    anchor = None if isinstance(node.op, ElementOp) else node
    group = Group(anchor, [node], node.shape, {node}, layout=layout.without_margins if layout else None)
    group.identity = domain_vars(group.domain)
    if isinstance(node.op, ElementOp):
        recorder = ReadRecorder(is_stored)
        operands, types = node.inputs, [n.type for n in node.inputs]
        node.op.element(
            recorder.builder, group.identity, lambda k, at: recorder.value(operands[k], at), types
        )
        group.reads = recorder.reads
    else:
        group.anchor_reads = _nearest_stored(node.inputs, is_stored)
    return group


def domain_vars(shape: tuple[int, ...]) -> tuple[Index, ...]:
    """Fresh index variables over a shape; axes with one element need none."""
    return tuple(as_index(Var(f"i{k}", extent) if extent > 1 else 0) for k, extent in enumerate(shape))


def _nearest_stored(operands: Sequence[Node], is_stored: Callable[[Node], bool]) -> set[Node]:
    """The stored nodes that `operands` are, or are composed of."""
    found: set[Node] = set()
    stack = list(operands)
    seen: set[Node] = set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if is_stored(node):
            found.add(node)
        else:
            stack.extend(node.inputs)
    return found
