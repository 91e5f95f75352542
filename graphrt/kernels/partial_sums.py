"""Sums along axes of a group's domain, taken while its results are in registers.

In: a group with `sums`, and the points its kernel has the results of. Out: statements that clear the sums and add to them.
Which thread adds to a sum, and in which order, follows from the loops alone: an axis that is summed along is never
divided among threads (`summed_axes`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir import Node
from ..loops import ir
from ..loops.index import Index, Var
from ..schedule.group import Group
from .space import Axis, Point, SlotComposer, nest


def summed_axes(group: Group) -> frozenset[int]:
    """The axes of the domain that any of the group's sums runs along."""
    return frozenset().union(*group.summed_axes)


def clear_sums(composer: SlotComposer, axes: Sequence[Axis]) -> list[ir.Statement]:
    """Loops that set the group's sums to zero; `axes` are those of the kernel, divided among threads as there."""
    statements: list[ir.Statement] = []
    for node in composer.group.sums:
        kept = _kept(composer.group, node)

        def clear(point: Point, node=node, kept=kept) -> list[ir.Statement]:
            zero = ir.Constant(0, node.dtype)
            return [ir.Store(*_place(composer, node, at), zero) for at in point.combinations(kept)]

        statements += nest([axis for axis in axes if axis.position in kept], clear)
    return statements


class Sums:
    """The sums that the points of one tile belong to, in registers from `begin` to `end`.

    Where `lane` is an axis of a sum its vectors are added to vectors of sums, else their lanes are folded at the end."""

    def __init__(
        self,
        composer: SlotComposer,
        points: Sequence[tuple[Index, ...]],
        lane: Var | None,
        name: Callable[[], str],
    ):
        self._composer, self._lane = composer, lane
        self._registers: dict[tuple[Node, tuple[Index, ...]], ir.Register] = {}
        for node in composer.group.sums:
            for point in points:
                key = self._key(node, point)
                if key not in self._registers:
                    self._registers[key] = ir.Register(name(), node.dtype, lane is not None)

    def _key(self, node: Node, point: tuple[Index, ...]) -> tuple[Node, tuple[Index, ...]]:
        return node, tuple(point[axis] for axis in _kept(self._composer.group, node))

    def _is_folded(self, at: tuple[Index, ...]) -> bool:
        return self._lane is not None and not any(self._lane in index.vars() for index in at)

    def begin(self) -> list[ir.Statement]:
        statements: list[ir.Statement] = []
        for (node, at), register in self._registers.items():
            old = ir.Load(*_place(self._composer, node, at))
            start = ir.Constant(0, node.dtype) if self._is_folded(at) else old
            statements.append(ir.Assign(register, start))
        return statements

    def add(self, point: tuple[Index, ...]) -> list[ir.Statement]:
        """Adds the terms of `point`, composed from what the composer knows there: before its results are stored, which
        may overwrite what they are computed from."""
        statements: list[ir.Statement] = []
        for node in self._composer.group.sums:
            register = self._registers[self._key(node, point)]
            term = self._composer.value(node.inputs[0], point)
            total = ir.Binary("add", ir.Read(register, self._lane), term)
            statements.append(ir.Assign(register, total))
        return statements

    def end(self) -> list[ir.Statement]:
        statements: list[ir.Statement] = []
        for (node, at), register in self._registers.items():
            place = _place(self._composer, node, at)
            total: ir.Scalar = ir.Read(register, self._lane)
            if self._is_folded(at):
                total = ir.Binary("add", ir.Load(*place), ir.LaneReduce("add", total))
            statements.append(ir.Store(*place, total))
        return statements


def _kept(group: Group, node: Node) -> list[int]:
    """The axes of the domain that are axes of the sum."""
    return [axis for axis in range(len(group.domain)) if axis not in node.op.axes]  # type: ignore[attr-defined]


def _place(composer: SlotComposer, node: Node, at: Sequence[Index]) -> tuple[ir.Buffer, Index]:
    slot = composer.slots[node]
    return composer.buffer(slot), slot.layout.address(node.shape, at)
