"""Symbolic indices to integers: one for all lanes (uniform), or one per lane of the vector loop (varying).

In: an `Index` over the loop variables that have a value now. Out: the text of an i64, or of a vector of integers.
"""

from __future__ import annotations

from ..loops import ir
from ..loops.index import Atom, Computed, Index, Quotient, Remainder, Var
from .emit_text import I64, Type, Value, Writer, is_number


class IndexEmitter(Writer):
    """A writer that knows the loops around what it writes: their variables, the vector loop and its active lanes."""

    def __init__(self, lanes: int):
        super().__init__(lanes)
        self.variables: dict[
            Var, str
        ] = {}  # serial and parallel loops; the vector variable is the lane's number
        self.vector_variable: Var | None = None
        self.active: int | None = None  # lanes that count; None: all

    def scalar(self, scalar: ir.Scalar) -> Value:
        """The value of a scalar expression: indices may contain some, and scalar expressions contain indices."""
        raise NotImplementedError

    def is_varying(self, index: Index) -> bool:
        """Whether the index differs between lanes."""
        return self.vector_variable is not None and self.vector_variable in index.vars()

    # ---- the same in all lanes

    def uniform_index(self, index: Index) -> str:
        """An i64 for an index that is the same in all lanes."""
        base = self.uniform_terms(index.terms)
        if not index.constant:
            return base
        if is_number(base):
            return str(int(base) + index.constant)
        return self.instruction(f"add i64 {base}, {index.constant}")

    def uniform_terms(self, terms: tuple[tuple[Atom, int], ...]) -> str:
        """An i64 for the sum of the terms."""
        if not terms:
            return "0"
        key = ("terms", terms)
        found = self.recall(key)
        if found is not None:
            return found
        total: str | None = None
        number = 0
        for atom, factor in terms:
            value = self._uniform_atom(atom)
            if is_number(value):
                number += int(value) * factor
                continue
            if factor != 1:
                value = self.instruction(f"mul nsw i64 {value}, {factor}")
            total = value if total is None else self.instruction(f"add nsw i64 {total}, {value}")
        if total is None:
            total = str(number)
        elif number:
            total = self.instruction(f"add nsw i64 {total}, {number}")
        self.remember(key, total)
        return total

    def _uniform_atom(self, atom: Atom) -> str:
        if isinstance(atom, Var):
            return self.variables[atom]
        if isinstance(atom, Computed):
            return self._computed(atom, I64).text
        shift, inner = _shifted(atom)
        dividend = self.uniform_index(inner)
        if is_number(dividend):
            quotient, rest = divmod(int(dividend), atom.divisor)
            return str(quotient - shift if isinstance(atom, Quotient) else rest)
        if isinstance(atom, Remainder):
            return self.instruction(f"urem i64 {dividend}, {atom.divisor}")
        result = self.instruction(f"udiv i64 {dividend}, {atom.divisor}")
        return self.instruction(f"sub i64 {result}, {shift}") if shift else result

    # ---- one per lane

    def varying_index(self, index: Index, width: str) -> Value:
        """A vector of integers of `width` ("i32" or "i64") for an index that differs between lanes."""
        type_ = self.vector(width)
        key = ("varying", index.terms, index.constant, width)
        found = self.recall(key)
        if found is not None:
            return Value(found, type_)
        varying = {atom: factor for atom, factor in index.terms if self.is_varying(Index({atom: 1}))}
        uniform = tuple((atom, factor) for atom, factor in index.terms if atom not in varying)
        base = self.uniform_index(Index(uniform, index.constant))
        if width != "i64" and not is_number(base):
            base = self.instruction(f"trunc i64 {base} to {width}")
        total = self.splat(Value(base, Type(width)))
        for atom, factor in varying.items():
            value = self._varying_atom(atom, type_)
            if factor != 1:
                value = self.value(f"mul {value}, {self.constant(factor, type_)}", type_)
            total = self.value(f"add {total}, {value.text}", type_)
        self.remember(key, total.text)
        return total

    def _computed(self, atom: Computed, width: Type) -> Value:
        """The scalar (a signed integer) in elements of `width`, a vector if it is one."""
        value = self.scalar(atom.scalar)
        type_ = value.type.of(width.element)
        if value.type.element == width.element:
            return value
        operation = "trunc" if atom.scalar.dtype.size > 4 else "sext"
        return self.value(f"{operation} {value} to {type_}", type_)

    def _varying_atom(self, atom: Atom, type_: Type) -> Value:
        if isinstance(atom, Var):
            numbers = ", ".join(f"{type_.element} {lane}" for lane in range(self.lanes))
            return Value(f"<{numbers}>", type_)
        if isinstance(atom, Computed):
            return self.splat(self._computed(atom, Type(type_.element)))
        shift, inner = _shifted(atom)
        dividend = self.varying_index(inner, type_.element)
        divisor = self.constant(atom.divisor, type_)
        if isinstance(atom, Remainder):
            return self.value(f"urem {dividend}, {divisor}", type_)
        result = self.value(f"udiv {dividend}, {divisor}", type_)
        return self.value(f"sub {result}, {self.constant(shift, type_)}", type_) if shift else result


def _shifted(atom: Quotient | Remainder) -> tuple[int, Index]:
    """Moves the dividend to where it is never negative, so that unsigned division is floor division: the quotient of
    the index returned is greater by the number returned."""
    shift = max(0, -(atom.index.low // atom.divisor))
    return shift, atom.index + shift * atom.divisor
