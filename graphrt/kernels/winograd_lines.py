"""Winograd's one-dimensional transforms as loop-IR expressions; the matrices are those of `ops/winograd.py`.

In: the scalars of one line. Out: the scalars of the transformed line. Points come in pairs a, -a, whose rows share their
even and their odd part, so that a line of inputs takes 12 operations and a line of results 13.

`pair(line, k)` gives two of the six transformed inputs, for k = 0 those at zero and infinity, for k = 1, 2 those at a, -a
and b, -b: kernels transform a tile in three sweeps, whose intermediate values fit into registers.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..dtypes import float32
from ..loops import ir
from ..ops.winograd import POINTS, SPAN, TILE

A, B = (float(p) for p in POINTS)
PAIRS = ((0, 5), (1, 2), (3, 4))  # rows of the transformed inputs that `pair` gives
PAIR_OF = {row: (k, which) for k, rows in enumerate(PAIRS) for which, row in enumerate(rows)}

ZERO = ir.Constant(0.0, float32)


def _number(value: float) -> ir.Scalar:
    return ir.Constant(value, float32)


def _add(x: ir.Scalar, y: ir.Scalar) -> ir.Scalar:
    return y if x is ZERO else x if y is ZERO else ir.Binary("add", x, y)


def _sub(x: ir.Scalar, y: ir.Scalar) -> ir.Scalar:
    return x if y is ZERO else ir.Binary("sub", x, y)


def _scaled(factor: float, x: ir.Scalar, y: ir.Scalar) -> ir.Scalar:
    """factor * x + y."""
    if x is ZERO:
        return y
    return ir.Binary("mul", _number(factor), x) if y is ZERO else ir.Fma(_number(factor), x, y)


def pair(line: Sequence[ir.Scalar], k: int) -> tuple[ir.Scalar, ir.Scalar]:
    """Rows PAIRS[k] of B^T line."""
    if k == 0:
        product, total = A * A * B * B, A * A + B * B
        first, last = (_scaled(product, line[n], _scaled(-total, line[n + 2], line[n + 4])) for n in range(2))
        return first, last
    point, other = (A, B) if k == 1 else (B, A)
    even = _scaled(-other * other, line[2], line[4])
    odd = _scaled(-other * other, line[1], line[3])
    return _scaled(point, odd, even), _scaled(-point, odd, even)


def inputs(line: Sequence[ir.Scalar]) -> list[ir.Scalar]:
    """B^T line: six inputs at the six points."""
    result: list[ir.Scalar] = [ZERO] * SPAN
    for k, rows in enumerate(PAIRS):
        for row, value in zip(rows, pair(line, k)):
            result[row] = value
    return result


def gradient_pair(line: Sequence[ir.Scalar], k: int) -> tuple[ir.Scalar, ir.Scalar]:
    """Rows PAIRS[k] of G line for the weight gradient's filters, four cotangents."""
    if k == 0:
        first = line[0] if line[0] is ZERO else ir.Binary("mul", _number(1 / (A * A * B * B)), line[0])
        return first, line[3]
    point, other = (A, B) if k == 1 else (B, A)
    scale = 1 / (2 * point * point * (point * point - other * other))
    even = _combined(scale, line[0], scale * point**2, line[2])
    odd = _combined(scale * point, line[1], scale * point**3, line[3])
    return _add(even, odd), _sub(even, odd)


def _combined(first: float, x: ir.Scalar, second: float, y: ir.Scalar) -> ir.Scalar:
    """first * x + second * y."""
    return _scaled(first, x, ZERO if y is ZERO else ir.Binary("mul", _number(second), y))


def gradients(line: Sequence[ir.Scalar]) -> list[ir.Scalar]:
    """G line: four cotangents at the six points."""
    result: list[ir.Scalar] = [ZERO] * SPAN
    for k, rows in enumerate(PAIRS):
        for row, value in zip(rows, gradient_pair(line, k)):
            result[row] = value
    return result


def outputs(line: Sequence[ir.Scalar], count: int = TILE) -> list[ir.Scalar]:
    """The first `count` of A^T line: results from the products at the six points."""
    sum_a, difference_a = _add(line[1], line[2]), _sub(line[1], line[2])
    sum_b, difference_b = _add(line[3], line[4]), _sub(line[3], line[4])
    results = [
        lambda: _add(_add(line[0], sum_a), sum_b),
        lambda: _scaled(A, difference_a, ir.Binary("mul", _number(B), difference_b)),
        lambda: _scaled(A**2, sum_a, ir.Binary("mul", _number(B**2), sum_b)),
        lambda: _scaled(A**3, difference_a, _scaled(B**3, difference_b, line[5])),
    ]
    return [result() for result in results[:count]]


def weights(taps: Sequence[ir.Scalar]) -> list[ir.Scalar]:
    """G taps: three taps at the six points."""
    first, middle, last = taps
    result: list[ir.Scalar] = [ZERO] * SPAN
    result[0] = ir.Binary("mul", _number(1 / (A * A * B * B)), first)
    result[5] = last
    for point, other, rows in ((A, B, PAIRS[1]), (B, A, PAIRS[2])):
        scale = 1 / (2 * point * point * (point * point - other * other))
        even = _scaled(scale, first, ir.Binary("mul", _number(scale * point * point), last))
        for sign, row in zip((1, -1), rows):
            result[row] = _scaled(sign * scale * point, middle, even)
    return result
