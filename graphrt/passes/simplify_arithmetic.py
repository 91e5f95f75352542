"""Simplifications of elementwise ops and reductions. Every rule is exact: same bits for every input (which NaN a NaN
is does not count), so float rules are fewer than integer rules.

A rule takes a node whose operands are already simple, and `make(op, *operands)` for new nodes; it returns an equal node
or None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..ir import Node, Op, TensorType
from ..ops import elementwise as e
from ..ops import reductions as r
from ..ops.base import Elementwise
from ..ops.views import Broadcast, Reshape
from .constants import uniform, uniform_value

Make = Callable[..., Node]
Rule = Callable[[Node, Make], Node | None]


def below_broadcast(node: Node, make: Make) -> Node | None:
    """f(broadcast(x), broadcast(y), number) -> broadcast(f(x, y, number)), where all broadcasts are of one kind."""
    if not isinstance(node.op, Elementwise) or not node.inputs:
        return None
    numbers = [uniform_value(operand) for operand in node.inputs]
    spread = [operand for operand, number in zip(node.inputs, numbers) if number is None]
    if not all(isinstance(operand.op, Broadcast) for operand in spread):
        return None
    kinds = {(operand.op, operand.inputs[0].shape) for operand in spread} or {(Broadcast(node.shape, ()), ())}
    if len(kinds) != 1:
        return None
    ((broadcast, shape),) = kinds
    if shape == node.shape:
        return None
    inner = [
        operand.inputs[0] if number is None else uniform(TensorType(shape, operand.dtype), number)
        for operand, number in zip(node.inputs, numbers)
    ]
    return make(broadcast, make(node.op, *inner))


def _is(node: Node, number: float) -> bool:
    """Whether every element of `node` is `number`, with its sign where it is a zero of a float type."""
    value = uniform_value(node)
    if value is None or value != number:
        return False
    return not node.dtype.is_float or number != 0 or np.signbit(value) == np.signbit(number)


def _operand_of(node: Node, op: type[Op]) -> Node | None:
    """x, if `node` is op(x)."""
    return node.inputs[0] if isinstance(node.op, op) else None


def _add(node: Node, make: Make) -> Node | None:
    for x, y in (node.inputs, node.inputs[::-1]):
        if _is(y, -0.0):  # x + 0.0 is not x where x is -0.0
            return x
        if (negated := _operand_of(y, e.Neg)) is not None:
            return make(e.Sub(), x, negated)
    return None


def _sub(node: Node, make: Make) -> Node | None:
    x, y = node.inputs
    if _is(y, 0.0):
        return x
    if (negated := _operand_of(y, e.Neg)) is not None:
        return make(e.Add(), x, negated)
    return make(e.Neg(), y) if _is(x, -0.0) else None


def _mul(node: Node, make: Make) -> Node | None:
    negated = [_operand_of(operand, e.Neg) for operand in node.inputs]
    if negated[0] is not None and negated[1] is not None:
        return make(e.Mul(), *negated)
    for x, y in (node.inputs, node.inputs[::-1]):
        if _is(y, 1):
            return x
        if node.dtype.kind != "uint" and _is(y, -1):
            return make(e.Neg(), x)
        if node.dtype.is_integer and _is(y, 0):
            return y
    return None


def _div(node: Node, make: Make) -> Node | None:
    x, y = node.inputs
    divisor = uniform_value(y)
    if divisor is None:
        return None
    if divisor == 1:
        return x
    # The reciprocal of a power of two is exact, and so are both the division by the one and the product with the other.
    number = float(divisor)
    is_power_of_two = np.isfinite(number) and abs(np.frexp(number)[0]) == 0.5
    if is_power_of_two and _is_normal(1 / number, y):
        return make(e.Mul(), x, uniform(y.type, 1 / number))
    return None


def _is_normal(number: float, like: Node) -> bool:
    import ml_dtypes

    info = ml_dtypes.finfo(like.dtype.numpy)
    return float(info.smallest_normal) <= abs(number) <= float(info.max)


def _floor_div(node: Node, make: Make) -> Node | None:
    x, y = node.inputs
    return x if node.dtype.is_integer and _is(y, 1) else None


def _pow(node: Node, make: Make) -> Node | None:
    x, exponent = node.inputs
    return x if _is(exponent, 1) else None


def _neg(node: Node, make: Make) -> Node | None:
    return _operand_of(node.inputs[0], e.Neg)


def _abs(node: Node, make: Make) -> Node | None:
    if (negated := _operand_of(node.inputs[0], e.Neg)) is not None:
        return make(e.Abs(), negated)
    return _idempotent(node, make)


def _idempotent(node: Node, make: Make) -> Node | None:
    """f(f(x)) -> f(x)"""
    return node.inputs[0] if node.inputs[0].op == node.op else None


def _same_operands(node: Node, make: Make) -> Node | None:
    """min(x, x) -> x"""
    return node.inputs[0] if node.inputs[0] is node.inputs[1] else None


def _and(node: Node, make: Make) -> Node | None:
    for x, y in (node.inputs, node.inputs[::-1]):
        if _is(y, True):
            return x
        if _is(y, False):
            return y
    return _same_operands(node, make)


def _or(node: Node, make: Make) -> Node | None:
    for x, y in (node.inputs, node.inputs[::-1]):
        if _is(y, False):
            return x
        if _is(y, True):
            return y
    return _same_operands(node, make)


def _not(node: Node, make: Make) -> Node | None:
    x = node.inputs[0]
    # Only these are each other's opposite: not (x < y) holds for NaN, x >= y does not.
    opposites: dict[type[Op], type[Op]] = {e.Equal: e.NotEqual, e.NotEqual: e.Equal}
    opposite = opposites.get(type(x.op))
    return make(opposite(), *x.inputs) if opposite else _operand_of(x, e.LogicalNot)


def _select(node: Node, make: Make) -> Node | None:
    condition, x, y = node.inputs
    chosen = uniform_value(condition)
    if chosen is not None:
        return x if chosen else y
    if x is y:
        return x
    if (opposite := _operand_of(condition, e.LogicalNot)) is not None:
        return make(e.Select(), opposite, y, x)
    return None


def _cast(node: Node, make: Make) -> Node | None:
    (x,) = node.inputs
    if x.dtype == node.dtype:
        return x
    if isinstance(x.op, e.Cast) and _holds_exactly(x.inputs[0], x) and _one_step_is_enough(x.inputs[0], node):
        return make(node.op, x.inputs[0])
    return None


def _holds_exactly(narrow: Node, wide: Node) -> bool:
    """Whether the type of `wide` can represent every value of the type of `narrow`."""
    a, b = narrow.dtype, wide.dtype
    if a == b or a.kind == "bool":
        return True
    if a.is_float or b.is_float:
        if not b.is_float:
            return False
        import ml_dtypes

        target = ml_dtypes.finfo(b.numpy)
        if not a.is_float:
            return 8 * a.size - (a.kind == "int") <= target.nmant + 1
        source = ml_dtypes.finfo(a.numpy)
        return (
            target.nmant >= source.nmant and target.minexp <= source.minexp and target.maxexp >= source.maxexp
        )
    return (a.size < b.size and (a.kind == "uint" or b.kind == "int")) or (
        a.size == b.size and a.kind == b.kind
    )


def _one_step_is_enough(source: Node, target: Node) -> bool:
    """Float to integer out of range gives any value, and may give another one by way of a wider float."""
    return not source.dtype.is_float or target.dtype.is_float or target.dtype.kind == "bool"


def _reduce(node: Node, make: Make) -> Node | None:
    """A reduction over single elements moves them; a sum of zeros is zero. Axes kept with extent 1 become a reshape,
    so that sums with and without them merge."""
    (x,), op = node.inputs, node.op
    if op.keepdims:  # type: ignore[attr-defined]
        return make(Reshape(node.shape), make(replace(op, keepdims=False), x))  # type: ignore[type-var]
    if all(x.shape[axis] == 1 for axis in op.axes):  # type: ignore[attr-defined]
        moved = make(Reshape(node.shape), x)
        # a sum starts from 0.0, so that the sum of -0.0 alone is 0.0
        from_zero = isinstance(op, r.ReduceSum) and node.dtype.is_float
        return make(e.Add(), moved, uniform(node.type, 0)) if from_zero else moved
    if isinstance(op, r.ReduceSum) and _is(x, 0.0):
        return uniform(node.type, 0)
    value = uniform_value(x) if isinstance(op, (r.ReduceMax, r.ReduceMin)) else None
    return None if value is None else uniform(node.type, value)


RULES: dict[type[Op], Rule] = {
    e.Add: _add,
    e.Sub: _sub,
    e.Mul: _mul,
    e.Div: _div,
    e.FloorDiv: _floor_div,
    e.Pow: _pow,
    e.Neg: _neg,
    e.Abs: _abs,
    e.Relu: _idempotent,
    e.Floor: _idempotent,
    e.Ceil: _idempotent,
    e.Round: _idempotent,
    e.Sign: _idempotent,
    e.Minimum: _same_operands,
    e.Maximum: _same_operands,
    e.LogicalAnd: _and,
    e.LogicalOr: _or,
    e.LogicalNot: _not,
    e.Select: _select,
    e.Cast: _cast,
    r.ReduceSum: _reduce,
    r.ReduceProd: _reduce,
    r.ReduceMax: _reduce,
    r.ReduceMin: _reduce,
}
