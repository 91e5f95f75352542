"""The `ElementBuilder` that op rules talk to: makes loop-IR scalars, folds what is constant, guards reads.

In: calls from `Op.element`, `Op.term`, ... Out: Scalar trees (shared where the caller shares).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..dtypes import DType, as_dtype, bool_, int64
from . import ir
from .index import Computed, Index, Var, as_index

NATIVE_UNARY = ("neg", "abs", "sqrt", "floor", "ceil", "round", "trunc", "not")
FLOAT_BY_FORMULA = ("pow", "rem", "floor_div")


class Builder:
    """Stateless but for the stack of predicates under which reads currently happen."""

    def __init__(self) -> None:
        self._predicates: list[ir.Scalar] = []

    @property
    def predicate_key(self) -> tuple[int, ...]:
        """Identifies the current guards (for memo tables)."""
        return tuple(id(p) for p in self._predicates)

    def constant(self, value: float | int | bool, dtype: DType) -> ir.Scalar:
        return ir.Constant(value, as_dtype(dtype))

    def unary(self, name: str, x: ir.Scalar) -> ir.Scalar:
        if name in NATIVE_UNARY:
            return ir.Unary(name, x)
        from .math import expand

        return expand(name, x)

    def binary(self, name: str, x: ir.Scalar, y: ir.Scalar) -> ir.Scalar:
        if name in FLOAT_BY_FORMULA and x.dtype.is_float:
            from .math import expand_binary

            return expand_binary(name, x, y)
        return ir.Binary(name, x, y)

    def select(self, condition: ir.Scalar, x: ir.Scalar, y: ir.Scalar) -> ir.Scalar:
        if isinstance(condition, ir.Constant):
            return x if condition.value else y
        return ir.Select(condition, x, y)

    def cast(self, x: ir.Scalar, dtype: DType) -> ir.Scalar:
        dtype = as_dtype(dtype)
        return x if x.dtype == dtype else ir.Cast(x, dtype)

    def bitcast(self, x: ir.Scalar, dtype: DType) -> ir.Scalar:
        return ir.Bitcast(x, as_dtype(dtype))

    def index_value(self, index: Index | Var | int, dtype: DType) -> ir.Scalar:
        index = as_index(index)
        dtype = as_dtype(dtype)
        return ir.Constant(index.constant, dtype) if index.is_constant else ir.IndexValue(index, dtype)

    def as_index(self, x: ir.Scalar, extent: int, known: bool = False) -> Index:
        if known:
            return as_index(Computed(x, extent))
        zero, last = ir.Constant(0, int64), ir.Constant(extent - 1, int64)
        wide = self.cast(x, int64)
        return as_index(Computed(ir.Binary("min", ir.Binary("max", wide, zero), last), extent))

    def where_in_range(
        self,
        ranges: Sequence[tuple[Index, int, int]],
        inside: Callable[[], ir.Scalar],
        outside: ir.Scalar,
    ) -> ir.Scalar:
        predicate: ir.Scalar | None = None
        for index, low, high in ranges:
            index = as_index(index)
            if index.low >= low and index.high < high:
                continue
            if index.high < low or index.low >= high:
                return outside
            test = ir.InRange(index, low, high)
            predicate = test if predicate is None else ir.Binary("and", predicate, test)
        if predicate is None:
            return inside()
        self._predicates.append(predicate)
        try:
            value = inside()
        finally:
            self._predicates.pop()
        return ir.Select(predicate, value, outside)

    def load(self, buffer: ir.Buffer, address: Index) -> ir.Scalar:
        """A read under the guards in force."""
        predicate: ir.Scalar | None = None
        for test in self._predicates:
            predicate = test if predicate is None else ir.Binary("and", predicate, test)
        return ir.Load(buffer, address, predicate)


COMBINE_IDENTITY = {"add": 0, "mul": 1}


def identity(combine: str, dtype: DType) -> ir.Constant:
    """The value a reduction starts from."""
    if combine in COMBINE_IDENTITY:
        return ir.Constant(COMBINE_IDENTITY[combine], dtype)
    largest = combine == "min"
    if dtype.is_float:
        return ir.Constant(float("inf") if largest else float("-inf"), dtype)
    if dtype == bool_:
        return ir.Constant(largest, dtype)
    import numpy as np

    limits = np.iinfo(dtype.numpy)
    return ir.Constant(int(limits.max if largest else limits.min), dtype)
