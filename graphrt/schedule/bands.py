"""Tensors that are exactly zero on one side of a diagonal, as attention's weights are above it.

In: a node. Out: the `Band` outside of which all its elements are zero, if the graph says so:

    scores = select(column <= row, products, -inf)    constant right of the diagonal
    weights = exp(scores - maximum) / sum              zero there, and so is what is multiplied by them

A contraction over such a tensor leaves out the blocks that are zero (`kernels/contraction.py`). Like all skipping of known
zeros this leaves out 0 * inf and 0 * nan, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..ir import Node
from ..ops import views
from ..ops.copy import Copy
from .compose import scalar_constant

MASKED = -1e29  # a score from here down has no weight, however small the other scores of its row are


@dataclass(frozen=True)
class Band:
    """What lies at index[columns] - index[rows] > offset is `value` everywhere."""

    rows: int
    columns: int
    offset: int
    value: float = 0.0


def value_band(node: Node) -> Band | None:
    """The band outside of which `node` is a constant, or None."""
    return _band(node, {})


def zero_band(node: Node) -> Band | None:
    """The band outside of which `node` is zero, or None."""
    band = value_band(node)
    return band if band is not None and band.value == 0 else None


def _band(node: Node, known: dict[Node, Band | None]) -> Band | None:
    """The band outside of which the elements of `node` have one value. Follows single operands down; graphs of chained
    arithmetic are walked once (`known`), and no deeper than a mask lies in practice."""
    if node in known:
        return known[node]
    known[node] = None if len(known) > 200 else _derived(node, known)
    return known[node]


def _derived(node: Node, known: dict[Node, Band | None]) -> Band | None:
    op, inputs = node.op, node.inputs
    name = op.name
    if name == "select":
        mask, number = _mask(inputs[0]), scalar_constant(_unbroadcast(inputs[2]))
        if mask is not None and number is not None:
            return Band(mask.rows, mask.columns, mask.offset, float(number))
        return None
    if isinstance(op, Copy) or name == "neg":
        band = _band(inputs[0], known)
        return band if band is None or name != "neg" or band.value == 0 else None
    if isinstance(op, views.Transpose):
        band = _band(inputs[0], known)
        if band is None:
            return None
        place = {axis: k for k, axis in enumerate(op.permutation)}
        return Band(place[band.rows], place[band.columns], band.offset, band.value)
    if name == "sub":
        band = _band(inputs[0], known)
        masked = band is not None and band.value <= MASKED and _keeps_a_column(band)
        return band if masked and _is_maximum(inputs[1], inputs[0]) else None
    if name == "exp":
        band = _band(inputs[0], known)
        return Band(band.rows, band.columns, band.offset) if band and band.value <= MASKED else None
    if name == "div":
        band = _band(inputs[0], known)
        return band if band is not None and band.value == 0 else None
    if name == "mul":
        bands = (_band(operand, known) for operand in inputs)
        return next((band for band in bands if band is not None and band.value == 0), None)
    return None


def _keeps_a_column(band: Band) -> bool:
    """Whether every row has a column inside the band."""
    return band.offset >= 0


def _is_maximum(node: Node, scores: Node) -> bool:
    """Whether `node` is the maximum of the rows of `scores`: that of a column inside the band, so no masked score."""
    while isinstance(node.op, views.Broadcast | views.Reshape):
        node = node.inputs[0]
    return node.op.name == "reduce_max" and node.inputs[0] is scores


def _unbroadcast(node: Node) -> Node:
    while isinstance(node.op, views.Broadcast):
        node = node.inputs[0]
    return node


COMPARED = {"less_equal": 0, "less": -1, "greater_equal": 0, "greater": -1}


def _mask(node: Node) -> Band | None:
    """Where a condition is false: a comparison of positions, or a constant matrix, broadcast or not."""
    if isinstance(node.op, views.Broadcast):
        inner = _mask(node.inputs[0])
        if inner is None or 1 in node.inputs[0].shape:
            return None
        axes = node.op.axes
        return Band(axes[inner.rows], axes[inner.columns], inner.offset)
    if node.op.name in COMPARED:
        left, right = (x.op for x in node.inputs)
        if not isinstance(left, views.Iota) or not isinstance(right, views.Iota) or left.axis == right.axis:
            return None
        small, large = (left, right) if node.op.name.startswith("less") else (right, left)
        return Band(large.axis, small.axis, COMPARED[node.op.name])
    if isinstance(node.op, views.Constant) and node.type.rank == 2 and node.dtype.kind == "bool":
        seen = np.argwhere(node.op.value.array)
        if len(seen) == 0:
            return None
        return Band(0, 1, int((seen[:, 1] - seen[:, 0]).max()))
    return None


def kept_share(rows: int, columns: int, offset: int, tile: int, by_rows: bool) -> float:
    """The part of a (rows, columns) matrix that is computed when blocks of `tile` rows (`by_rows`) or columns leave
    out what is zero for the whole block."""
    total = 0
    if by_rows:
        for first in range(0, rows, tile):
            last = min(first + tile, rows) - 1
            total += (last - first + 1) * min(columns, max(0, last + offset + 1))
    else:
        for first in range(0, columns, tile):
            width = min(tile, columns - first)
            total += width * (rows - min(rows, max(0, first - offset)))
    return total / max(1, rows * columns)


def tile_share(rows: int, columns: int, offset: int, row_tile: int, column_tile: int) -> float:
    """The part of the (row_tile, column_tile) blocks of a matrix that are not constant as a whole."""
    kept = 0
    for first in range(0, rows, row_tile):
        reach = max(0, first + row_tile - 1 + offset + 1)
        kept += min(-(-columns // column_tile), -(-reach // column_tile))
    return kept / max(1, -(-rows // row_tile) * -(-columns // column_tile))


def useful_share(anchor: Node, results: Sequence[Node]) -> float:
    """The part of a contraction's terms that are not known to be zero and belong to results not known anyway."""
    matrices = [(node, zero_band(node)) for node in anchor.inputs]
    known = [value_band(node) if node.shape == anchor.shape else None for node in results]
    if known and all(band is not None for band in known):
        matrices.append((anchor, known[0]))
    shares = [
        kept_share(node.shape[band.rows], node.shape[band.columns], band.offset, 1, True)
        for node, band in matrices
        if band is not None
    ]
    return min(shares, default=1.0)


__all__ = ["Band", "kept_share", "tile_share", "useful_share", "value_band", "zero_band"]
