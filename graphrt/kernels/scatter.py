"""Scatter: rows of updates added into a table at computed positions.

In: a group whose anchor is a ScatterAdd (it has no epilogue, see `schedule/joining.py`). Out: a kernel that clears the
table and then adds the updates in index order. The columns (all axes behind the rows, taken as one) carry the lanes
and are split over the threads, so that no two threads meet in a row and the order of additions, hence every bit of
the result, is that of one thread.

Updates that lie side by side along the last index axis (tokens in lanes) are computed in square blocks that are turned in
registers, as in `transpose.py`; gathering them would cost several times as much.
"""

from __future__ import annotations

import math

from ..loops import ir
from ..loops.index import Index, Var, as_index, unravel
from ..ops.scatter import ScatterAdd
from ..schedule.group import Group
from .space import (
    SERIAL_WORK,
    Axis,
    Point,
    SlotComposer,
    Slots,
    access,
    choose_parallel,
    loads,
    make_kernel,
    nest,
)

TILE = 4  # column blocks per pass over the indices: each position is computed once for all of them


def build_scatter(group: Group, slots: Slots, lanes: int, threads: int):
    """The kernel of a group whose anchor is a ScatterAdd."""
    anchor = group.anchor
    assert anchor is not None and isinstance(anchor.op, ScatterAdd) and group.stores == [anchor]
    scatter = _Scatter(group, slots, lanes)
    columns, indices = scatter.columns, anchor.inputs[0].type.size
    turned = scatter.is_turned()
    if turned:
        axis = Axis("column", columns // lanes, position=0)
    else:
        axis = Axis("column", columns, lanes if columns > 1 else 0, position=0)
    serial = columns * (scatter.rows + indices) < SERIAL_WORK or axis.count < 2
    if not serial:
        choose_parallel([axis], threads)
    if not turned:
        axis.tile = min(TILE, max(1, axis.count // (threads if axis.parallel else 1)))
    statements = nest([axis], scatter.turned if turned else scatter.straight) if columns else []
    return make_kernel(group.name, scatter.composer, statements, lanes, serial)


class _Scatter:
    """The code of one or some blocks of columns."""

    def __init__(self, group: Group, slots: Slots, lanes: int):
        anchor = group.anchor
        assert anchor is not None and isinstance(anchor.op, ScatterAdd)
        self.group, self.slots, self.anchor, self.lanes = group, slots, anchor, lanes
        self.rows, self.row_shape = anchor.op.rows, anchor.shape[1:]
        self.columns = math.prod(self.row_shape)
        self.indices, self.updates = anchor.inputs
        self.composer = SlotComposer(group, slots)
        self.table = self.composer.buffer(slots[anchor])

    def is_turned(self) -> bool:
        """Whether updates lie side by side along the last index axis, not along the columns, and squares of them divide
        both."""
        shape = self.indices.shape
        if self.anchor.dtype.size != 4 or not shape or shape[-1] % self.lanes or self.columns % self.lanes:
            return False
        if not self.columns or not self.indices.type.size:
            return False
        at = [as_index(Var(f"u{k}", extent)) for k, extent in enumerate(shape)]
        column = as_index(Var("column", self.columns))
        lane = Var("lane", self.lanes)
        blocks = as_index(Var("block", self.columns // self.lanes)) * self.lanes + as_index(lane)
        along_columns = self._touch(at, blocks, lane)
        at[-1] = as_index(Var("block", shape[-1] // self.lanes)) * self.lanes + as_index(lane)
        return "varying" in along_columns and "varying" not in self._touch(at, column, lane)

    def _touch(self, at: list[Index], column: Index, lane: Var) -> set[str]:
        value = SlotComposer(self.group, self.slots).value(
            self.updates, (*at, *unravel(column, self.row_shape))
        )
        return {access(load.address, lane) for load in loads([value])}

    def _address(self, row: Index, column: Index) -> Index:
        return self.slots[self.anchor].layout.address(
            self.anchor.shape, (row, *unravel(column, self.row_shape))
        )

    def _target(self, at: tuple[Index, ...]) -> Index:
        return self.composer.builder.as_index(self.composer.value(self.indices, at), self.rows)

    def _update(self, at: tuple[Index, ...], column: Index) -> ir.Scalar:
        return self.composer.value(self.updates, (*at, *unravel(column, self.row_shape)))

    def _add(self, where: Index, update: ir.Scalar) -> ir.Store:
        return ir.Store(self.table, where, ir.Binary("add", ir.Load(self.table, where), update))

    def _clear(self, columns: list[Index]) -> ir.Loop:
        row, zero = Var("row", self.rows), ir.Constant(0, self.anchor.dtype)
        return ir.Loop(
            row, [ir.Store(self.table, self._address(as_index(row), column), zero) for column in columns]
        )

    def straight(self, point: Point) -> list[ir.Statement]:
        """Lanes along the columns."""
        columns = point.indices[0]
        loops = [Var(f"u{k}", extent) for k, extent in enumerate(self.indices.shape)]
        at = tuple(as_index(var) for var in loops)
        target = self._target(at)
        add: list[ir.Statement] = [self._add(self._address(target, c), self._update(at, c)) for c in columns]
        for var in reversed(loops):
            add = [ir.Loop(var, add)]
        return [self._clear(columns), *(add if self.indices.type.size else [])]

    def turned(self, point: Point) -> list[ir.Statement]:
        """One block of columns: updates of as many indices as there are lanes at a time, turned, then added one by one."""
        (block,) = point.indices[0]
        *outer, last = (Var(f"u{k}", extent) for k, extent in enumerate(self.indices.shape))
        blocks = Var(last.name, last.extent // self.lanes)
        before = tuple(as_index(var) for var in outer)
        first, start = as_index(blocks) * self.lanes, block * self.lanes
        index_lane, lane = Var("index_lane", self.lanes), Var("column_lane", self.lanes)
        registers = tuple(ir.Register(f"update{k}", self.anchor.dtype, True) for k in range(self.lanes))
        reads: list[ir.Statement] = [
            ir.Assign(register, self._update((*before, first + as_index(index_lane)), start + k))
            for k, register in enumerate(registers)
        ]
        columns = start + as_index(lane)
        adds: list[ir.Statement] = [
            self._add(self._address(self._target((*before, first + k)), columns), ir.Read(register, lane))
            for k, register in enumerate(registers)
        ]
        body: list[ir.Statement] = [
            ir.Loop(index_lane, reads, "vector"),
            ir.TransposeLanes(registers),
            # one after the other: two of them may name the same row
            *(ir.Loop(lane, [add], "vector") for add in adds),
        ]
        for var in (blocks, *reversed(outer)):
            body = [ir.Loop(var, body)]
        return [ir.Loop(lane, [self._clear([columns])], "vector"), *body]
