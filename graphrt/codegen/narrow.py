"""Conversions to 16-bit floats that most processors have no instruction for; LLVM would call a library per lane.

In: a writer and a value in registers. Out: the converted value, rounded once, to nearest and ties to even.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .emit_text import Value, Writer

# Bit patterns of float32: its upper 16 bits are a bfloat16.
_BELOW_TIE = 0x7FFF
_QUIET = 0x0040  # makes a bfloat16 NaN of any NaN, whichever payload bits are cut off


def bfloat_from_float(writer: Writer, x: Value) -> Value:
    """float32 to bfloat16 by integer arithmetic: add just under half of the last place kept, plus its parity."""
    word, half, result = (x.type.of(element) for element in ("i32", "i16", "bfloat"))
    bits = writer.value(f"bitcast {x} to {word}", word)
    upper = writer.value(f"lshr {bits}, {writer.constant(16, word)}", word)
    parity = writer.value(f"and {upper}, {writer.constant(1, word)}", word)
    up = writer.value(f"add {parity}, {writer.constant(_BELOW_TIE, word)}", word)
    sum_ = writer.value(f"add {bits}, {up.text}", word)
    rounded = writer.value(f"lshr {sum_}, {writer.constant(16, word)}", word)
    quiet = writer.value(f"or {upper}, {writer.constant(_QUIET, word)}", word)
    is_nan = writer.value(f"fcmp uno {x}, {x.text}", x.type.of("i1"))
    chosen = writer.value(f"select {is_nan}, {quiet}, {rounded}", word)
    cut = writer.value(f"trunc {chosen} to {half}", half)
    return writer.value(f"bitcast {cut} to {result}", result)


def float_from_double_to_odd(writer: Writer, x: Value) -> Value:
    """float64 to the float32 toward zero, its last bit set if that is not exact. Rounding the result to 16 bits gives
    what rounding `x` itself would give; by way of the nearest float32 it would be rounded twice."""
    single, word, flag = (x.type.of(element) for element in ("float", "i32", "i1"))
    nearest = writer.value(f"fptrunc {x} to {single}", single)
    back = writer.value(f"fpext {nearest} to {x.type}", x.type)
    inexact = writer.value(f"fcmp one {back}, {x.text}", flag)
    size, size_back = (writer.call(x.type, f"llvm.fabs.{x.type.suffix}", value) for value in (x, back))
    outward = writer.value(f"fcmp ogt {size_back}, {size.text}", flag)
    bits = writer.value(f"bitcast {nearest} to {word}", word)
    step = writer.value(f"zext {outward} to {word}", word)
    inner = writer.value(f"sub {bits}, {step.text}", word)
    odd = writer.value(f"zext {inexact} to {word}", word)
    joined = writer.value(f"or {inner}, {odd.text}", word)
    return writer.value(f"bitcast {joined} to {single}", single)
