"""Evaluates loop IR scalars with NumPy: the oracle for expansions, one array element per lane.

In: a Scalar, and arrays for the Read registers in it. Out: the array of its values. Every operation rounds once, Fma
included.
"""

from __future__ import annotations

import numpy as np

from graphrt.loops import ir

_UNARY = {
    "neg": np.negative, "abs": np.abs, "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "round": np.rint,
    "trunc": np.trunc, "not": np.invert,
}  # fmt: skip
_BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "min": np.minimum, "max": np.maximum,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "shl": np.left_shift, "shr": np.right_shift,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}  # fmt: skip


def _two_sum(a, b):
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def _round_to_odd_sum(a, b):
    """a + b in float64, with the last bit set when inexact: rounding this to float32 rounds a + b correctly."""
    total, error = _two_sum(a, b)
    even = (total.view(np.int64) & 1) == 0
    adjust = even & (error != 0) & np.isfinite(error)
    toward = np.where(error > 0, np.inf, -np.inf)
    return np.where(adjust, np.nextafter(total, toward), total)


def _fma32(x, y, z):
    product = x.astype(np.float64) * y.astype(np.float64)  # exact: 48 bits
    return _round_to_odd_sum(product, z.astype(np.float64)).astype(np.float32)


def _fma64(x, y, z):
    """x * y + z through mantissas near 1, so that nothing over- or underflows before the last step; the product is
    split in two float64 (Dekker). Exact ties between three parts and denormal results may round twice."""

    def split(v):
        c = v * 134217729.0
        high = c - (c - v)
        return high, v - high

    plain = x * y + z
    (a, a_power), (b, b_power), (_, z_power) = np.frexp(x), np.frexp(y), np.frexp(z)
    power = a_power + b_power
    distance = np.where(z == 0, 0, z_power - power)
    addend = np.ldexp(z, -np.where(np.abs(distance) < 300, power, z_power))
    (a_high, a_low), (b_high, b_low) = split(a), split(b)
    product = a * b
    low = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    total, error = _two_sum(product, addend)
    result = np.ldexp(total + (error + low), power)
    result = np.where(distance >= 300, z, np.where(distance <= -300, np.ldexp(product, power), result))
    unusual = ~np.isfinite(x) | ~np.isfinite(y) | ~np.isfinite(z) | (x == 0) | (y == 0) | (result == 0)
    return np.where(unusual, plain, result)


def evaluate(root: ir.Scalar, values: dict[ir.Register, np.ndarray]) -> np.ndarray:
    """The value of `root`, given an array per register."""
    memo: dict[int, np.ndarray] = {}
    stack = [root]
    with np.errstate(all="ignore"):
        while stack:
            node = stack[-1]
            if id(node) in memo:
                stack.pop()
                continue
            parts = children(node)
            missing = [p for p in parts if id(p) not in memo]
            if missing:
                stack.extend(missing)
                continue
            memo[id(node)] = np.asarray(_apply(node, [memo[id(p)] for p in parts], values))
            stack.pop()
    return memo[id(root)]


def children(node: ir.Scalar) -> tuple[ir.Scalar, ...]:
    if isinstance(node, (ir.Constant, ir.Read)):
        return ()
    if isinstance(node, ir.Binary):
        return node.x, node.y
    if isinstance(node, ir.Fma):
        return node.x, node.y, node.z
    if isinstance(node, ir.Select):
        return node.condition, node.x, node.y
    return (node.x,)


def count(root: ir.Scalar) -> int:
    """Distinct operations (constants and reads are free)."""
    seen: dict[int, ir.Scalar] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) not in seen:
            seen[id(node)] = node
            stack.extend(children(node))
    return sum(not isinstance(n, (ir.Constant, ir.Read)) for n in seen.values())


def _apply(node: ir.Scalar, parts: list[np.ndarray], values: dict[ir.Register, np.ndarray]) -> np.ndarray:
    for part, child in zip(parts, children(node)):
        assert part.dtype == child.dtype.numpy, f"{node} got {part.dtype}"
    if isinstance(node, ir.Constant):
        exact = np.asarray(node.value).astype(node.dtype.numpy)
        # a constant that is not exact in its type would mean something else in native code
        assert exact.item() == node.value or node.value != node.value, f"{node.value!r} is not a {node.dtype}"
        return exact
    if isinstance(node, ir.Read):
        return values[node.register]
    if isinstance(node, ir.Unary):
        return _UNARY[node.op](parts[0])
    if isinstance(node, ir.Binary):
        assert parts[0].dtype == parts[1].dtype
        return _BINARY[node.op](*parts)
    if isinstance(node, ir.Fma):
        fma = _fma32 if parts[0].dtype == np.float32 else _fma64
        return fma(*np.broadcast_arrays(*parts))
    if isinstance(node, ir.Select):
        assert parts[1].dtype == parts[2].dtype
        return np.where(*parts)
    if isinstance(node, ir.Cast):
        return parts[0].astype(node.dtype.numpy)
    if isinstance(node, ir.Bitcast):
        return np.ascontiguousarray(parts[0]).view(node.dtype.numpy)
    raise AssertionError(f"unexpected scalar {node}")
