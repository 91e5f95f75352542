"""Scatter: rows of updates added into a table at computed positions.

In: a group whose anchor is a ScatterAdd (it has no epilogue, see `schedule/joining.py`). Out: a kernel that clears the
table and then adds the updates in index order. The columns (all axes behind the rows, taken as one) carry the lanes
and are split over the threads, so that no two threads meet in a row and the order of additions, hence every bit of
the result, is that of one thread.
"""

from __future__ import annotations

import math

from ..loops import ir
from ..loops.index import Index, Var, as_index, unravel
from ..ops.scatter import ScatterAdd
from ..schedule.group import Group
from .space import SERIAL_WORK, Axis, Point, SlotComposer, Slots, choose_parallel, make_kernel, nest

TILE = 4  # column blocks per pass over the indices: each position is computed once for all of them


def build_scatter(group: Group, slots: Slots, lanes: int, threads: int):
    """The kernel of a group whose anchor is a ScatterAdd."""
    anchor = group.anchor
    assert anchor is not None and isinstance(anchor.op, ScatterAdd) and group.stores == [anchor]
    rows = anchor.op.rows
    indices, updates = anchor.inputs
    row_shape = anchor.shape[1:]
    columns = math.prod(row_shape)
    composer = SlotComposer(group, slots)
    slot = slots[anchor]
    table = composer.buffer(slot)

    def address(row: Index, column: Index) -> Index:
        return slot.layout.address(anchor.shape, (row, *unravel(column, row_shape)))

    axis = Axis("column", columns, lanes if columns > 1 else 0, position=0)
    serial = columns * (rows + indices.type.size) < SERIAL_WORK or axis.count < 2
    if not serial:
        choose_parallel([axis], threads)
    axis.tile = min(TILE, max(1, axis.count // (threads if axis.parallel else 1)))

    def body(point: Point) -> list[ir.Statement]:
        positions = point.indices[0]
        row = Var("row", rows)
        zero = ir.Constant(0, anchor.dtype)
        clear: list[ir.Statement] = [ir.Store(table, address(as_index(row), p), zero) for p in positions]
        loops = [Var(f"u{k}", extent) for k, extent in enumerate(indices.shape)]
        at = tuple(as_index(var) for var in loops)
        target = composer.builder.as_index(composer.value(indices, at), rows)
        add: list[ir.Statement] = []
        for p in positions:
            where = address(target, p)
            update = composer.value(updates, (*at, *unravel(p, row_shape)))
            add.append(ir.Store(table, where, ir.Binary("add", ir.Load(table, where), update)))
        for var in reversed(loops):
            add = [ir.Loop(var, add)]
        return [ir.Loop(row, clear), *(add if indices.type.size else [])]

    statements = nest([axis], body) if columns else []
    return make_kernel(group.name, composer, statements, lanes, serial)
