"""An ElementBuilder that computes: lowering rules checked element by element, without a compiler.

In: an op, the types and arrays of its operands. Out: the array its element, reduction or contraction rule
describes. Indices are `Position`s, which allow exactly what rules may do with symbolic integers; scalars are
NumPy scalars.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from graphrt.dtypes import as_dtype
from graphrt.ops.base import ContractionOp, ElementOp, ReductionOp


class Position:
    """An integer that rules may add, subtract, scale and divide, but neither compare nor convert."""

    def __init__(self, value):
        self.value = value

    def __add__(self, other):
        return Position(self.value + number(other))

    def __sub__(self, other):
        return Position(self.value - number(other))

    def __rsub__(self, other):
        return Position(number(other) - self.value)

    def __mul__(self, factor):
        assert type(factor) is int, "indices are multiplied by ints only"
        return Position(self.value * factor)

    def __floordiv__(self, divisor):
        assert type(divisor) is int and divisor > 0
        return Position(self.value // divisor)

    def __mod__(self, divisor):
        assert type(divisor) is int and divisor > 0
        return Position(self.value % divisor)

    __radd__, __rmul__ = __add__, __mul__

    def __eq__(self, other):
        raise AssertionError("rules must not compare indices")

    __hash__ = None

    def __bool__(self):
        raise AssertionError("rules must not branch on indices")


def number(index):
    return index.value if isinstance(index, Position) else index


UNARY = {
    "neg": np.negative, "abs": np.abs, "sign": np.sign, "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1,
    "log": np.log, "log1p": np.log1p, "tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "erf": math.erf,
    "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "floor": np.floor, "ceil": np.ceil, "round": np.rint,
    "trunc": np.trunc, "sin": np.sin, "cos": np.cos, "not": np.logical_not,
    "normal_cdf": lambda x: 0.5 * math.erfc(-x * math.sqrt(0.5)),
    "normal_density": lambda x: np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi),
}  # fmt: skip
BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "floor_div": np.floor_divide,
    "pow": np.power, "min": np.minimum, "max": np.maximum, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "shl": np.left_shift, "shr": np.right_shift,
}  # fmt: skip
COMPARE = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}  # fmt: skip


class ScalarBuilder:
    def constant(self, value, dtype):
        return np.asarray(value).astype(as_dtype(dtype).numpy)[()]

    def unary(self, name, x):
        return np.asarray(UNARY[name](x)).astype(x.dtype)[()]

    def binary(self, name, x, y):
        assert x.dtype == y.dtype, f"{name} of {x.dtype} and {y.dtype}"
        if name in COMPARE:
            return np.bool_(COMPARE[name](x, y))
        if name == "floor_div":
            assert x.dtype.kind in "iu" and y != 0, "native integer division by zero traps"
            assert not (x.dtype.kind == "i" and y == -1), (
                "native division of the smallest integer by -1 traps"
            )
        if name == "mulhi":
            return x.dtype.type((int(x) * int(y)) >> (8 * x.dtype.itemsize))
        return np.asarray(BINARY[name](x, y)).astype(x.dtype)[()]

    def select(self, condition, x, y):
        assert condition.dtype == np.bool_ and x.dtype == y.dtype
        return x if condition else y

    def cast(self, x, dtype):
        return np.asarray(x).astype(as_dtype(dtype).numpy)[()]

    def bitcast(self, x, dtype):
        return np.asarray(x).view(as_dtype(dtype).numpy)[()]

    def index_value(self, index, dtype):
        return self.constant(number(index), dtype)

    def as_index(self, x, extent, known=False):
        assert x.dtype.kind in "iu" and (not known or 0 <= x < extent)
        return Position(min(max(int(x), 0), extent - 1))

    def where_in_range(self, ranges, inside, outside):
        return inside() if all(low <= number(index) < high for index, low, high in ranges) else outside


def by_rule(op, types, arrays):
    """The result of `op` computed through its lowering rule; None for an op that has none (composites)."""
    with np.errstate(all="ignore"):
        if isinstance(op, ContractionOp):
            return _contraction(op, types, arrays)
        if isinstance(op, ReductionOp):
            return _reduction(op, types, arrays)
        if isinstance(op, ElementOp):
            result = op.infer(*types)
            elements = [
                op.element(ScalarBuilder(), position(i), reader(arrays), types)
                for i in everywhere(result.shape)
            ]
            assert all(e.dtype == result.dtype.numpy for e in elements)
            return np.array(elements, dtype=result.dtype.numpy).reshape(result.shape)
    return None


def everywhere(shape):
    return itertools.product(*map(range, shape))


def position(index):
    return tuple(Position(i) for i in index)


def reader(arrays):
    def read(operand, index):
        at = tuple(number(i) for i in index)
        assert len(at) == arrays[operand].ndim
        assert all(0 <= i < n for i, n in zip(at, arrays[operand].shape)), (
            f"read outside operand {operand}: {at}"
        )
        return arrays[operand][at]

    return read


COMBINE = {"add": (0, np.add), "mul": (1, np.multiply), "max": (None, np.maximum), "min": (None, np.minimum)}


def _reduction(op, types, arrays):
    result = op.infer(*types)
    start, combine = COMBINE[op.combine]
    half = result.dtype.is_float and result.dtype.size == 2
    accumulator = np.dtype(np.float32) if half else result.dtype.numpy
    output = np.empty(result.shape, result.dtype.numpy)
    for i in everywhere(result.shape):
        terms = [
            op.term(ScalarBuilder(), position(i), position(window), reader(arrays), types)
            for window in everywhere(op.reduce_extents(types))
        ]
        total = terms.pop() if start is None else accumulator.type(start)
        for term in terms:
            total = combine(total, term.astype(accumulator))
        output[i] = total
    return output


def _contraction(op, types, arrays):
    result, spec = op.infer(*types), op.contraction(types)
    assert spec.output == result.shape
    left, right = arrays
    step = spec.step or (1,) * left.ndim
    output = np.zeros(result.shape, result.dtype.numpy)
    for i in everywhere(spec.output):
        total = result.dtype.numpy.type(0)
        for r in everywhere(spec.reduce):
            coordinates = [number(c) for c in spec.left_index(position(i), position(r))]
            if any(c % s for c, s in zip(coordinates, step)):
                continue
            at = tuple(c // s for c, s in zip(coordinates, step))
            if all(0 <= c < n for c, n in zip(at, left.shape)):
                other = right[tuple(number(c) for c in spec.right_index(position(i), position(r)))]
                total = total + _product(op, left[at], other)
        output[i] = total
    return output


def _product(op, x, y):
    """One term of a contraction: of numbers, or of words that hold two bfloat16 each."""
    if not getattr(op, "pairs", False):
        return x * y
    halves = [(np.uint32(v << np.uint32(16)), v & np.uint32(0xFFFF0000)) for v in (x, y)]
    low, high = ([np.float32(word.view(np.float32)) for word in pair] for pair in zip(*halves))
    return low[0] * low[1] + high[0] * high[1]
