"""Scalar expressions to values: trees of loop IR scalars, each node computed once in its block.

In: an `ir.Scalar`. Out: a `Value`; a vector of all lanes where the expression depends on the vector loop's variable.
Registers are stack slots here, which LLVM's SROA promotes to SSA values.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..dtypes import DType, int32, int64
from ..loops import ir
from ..loops.builder import identity
from . import emit_arithmetic as arithmetic
from .emit_memory import MemoryEmitter
from .emit_text import I32, I64, Type, Value, literal, register_element
from .target import Instructions


class ScalarEmitter(MemoryEmitter):
    """Computes scalar expressions."""

    def __init__(self, lanes: int, buffers: Sequence[ir.Buffer], instructions: Instructions):
        super().__init__(lanes, buffers, instructions)
        self.slots: dict[ir.Register, str] = {}

    def scalar(self, scalar: ir.Scalar) -> Value:
        """The value of a scalar tree; iterative, because trees may be deep."""
        stack: list[tuple[ir.Scalar, bool]] = [(scalar, False)]
        while stack:
            node, ready = stack.pop()
            if self.recall(node) is not None:
                continue
            children = _operands(node)
            if ready or not children:
                self.remember(node, self._node(node))
            else:
                stack.append((node, True))
                stack.extend((child, False) for child in reversed(children))
        return self.recall(scalar)

    def slot(self, register: ir.Register) -> str:
        """The stack slot of a register."""
        return self.slots.setdefault(register, f"%r{len(self.slots)}")

    def register_type(self, register: ir.Register) -> Type:
        return Type(register_element(register.dtype), self.lanes if register.lanes else 0)

    def _node(self, node: ir.Scalar) -> Value:
        """One node, whose operands are computed already."""
        if isinstance(node, ir.Constant):
            return Value(literal(node.value, node.dtype), Type(register_element(node.dtype)))
        if isinstance(node, ir.Load):
            predicate = self.scalar(node.predicate) if node.predicate is not None else None
            return self.load(node.buffer, node.address, predicate)
        if isinstance(node, ir.Read):
            type_ = self.register_type(node.register)
            return self.value(f"load {type_}, ptr {self.slot(node.register)}", type_)
        if isinstance(node, ir.IndexValue):
            return self._index_value(node)
        if isinstance(node, ir.InRange):
            return self._in_range(node)
        if isinstance(node, ir.LaneReduce):
            return self._lane_reduce(node)
        values = [self.scalar(operand) for operand in _operands(node)]
        if any(value.lanes for value in values):
            values = [self.splat(value) for value in values]
        if isinstance(node, ir.Fma):
            return arithmetic.fused_multiply_add(self, *values)
        if isinstance(node, ir.PairDot):
            return arithmetic.pair_dot(self, values[0], values[1], values[2], self.instructions.dot_pairs)
        if isinstance(node, ir.Select):
            return arithmetic.select(self, *values)
        if isinstance(node, ir.Cast):
            return arithmetic.cast(self, values[0], node.x.dtype, node.dtype)
        if isinstance(node, ir.Bitcast):
            return arithmetic.bitcast(self, values[0], node.dtype)
        if isinstance(node, ir.Unary):
            return arithmetic.unary(self, node.op, node.dtype, values[0])
        if isinstance(node, ir.Binary):
            return arithmetic.binary(self, node.op, node.x.dtype, *values)
        raise AssertionError(f"no code for {type(node).__name__}")

    def _index_value(self, node: ir.IndexValue) -> Value:
        if not self.is_varying(node.index):
            return arithmetic.cast(self, Value(self.uniform_index(node.index), I64), int64, node.dtype)
        fits = abs(node.index.high) < 2**31 and abs(node.index.low) < 2**31
        value = self.varying_index(node.index, "i32" if fits else "i64")
        return arithmetic.cast(self, value, int32 if fits else int64, node.dtype)

    def _in_range(self, node: ir.InRange) -> Value:
        # One unsigned comparison tests both ends.
        shifted = node.index - node.low
        if self.is_varying(node.index):
            value = self.varying_index(shifted, I32.element)
        else:
            value = Value(self.uniform_index(shifted), I64)
        limit = self.constant(node.high - node.low, value.type)
        return self.value(f"icmp ult {value}, {limit}", value.type.of("i1"))

    def _lane_reduce(self, node: ir.LaneReduce) -> Value:
        value = self.only_active(self.splat(self.scalar(node.x)), node.combine, node.dtype)
        return arithmetic.reduce_lanes(self, node.combine, node.dtype, value)

    def only_active(self, value: Value, combine: str, dtype: DType) -> Value:
        """The value with what changes no result of `combine` in the lanes that are not active."""
        mask = self.mask(None)
        if mask is None:
            return value
        start = literal(identity(combine, dtype).value, dtype)
        return arithmetic.select(self, mask, value, Value(self.constant(start, value.type), value.type))


def _operands(node: ir.Scalar) -> list[ir.Scalar]:
    """What `_node` combines, in its order. Scalars inside indices are not among them: they are computed on demand."""
    if isinstance(node, ir.Load):
        return [node.predicate] if node.predicate is not None else []
    if isinstance(node, ir.Unary | ir.Cast | ir.Bitcast | ir.LaneReduce):
        return [node.x]
    if isinstance(node, ir.Binary):
        return [node.x, node.y]
    if isinstance(node, ir.Fma | ir.PairDot):
        return [node.x, node.y, node.z]
    if isinstance(node, ir.Select):
        return [node.condition, node.x, node.y]
    return []
