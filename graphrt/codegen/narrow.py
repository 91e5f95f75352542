"""Conversions to 16-bit floats that most processors have no instruction for; LLVM would call a library per lane.

In: an emitter and a value in registers. Out: the converted value, rounded once, to nearest and ties to even.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .emit import Emitter, Value

# Bit patterns of float32: its upper 16 bits are a bfloat16.
_BELOW_TIE = 0x7FFF
_QUIET = 0x0040  # makes a bfloat16 NaN of any NaN, whichever payload bits are cut off


def bfloat_from_float(emitter: Emitter, x: Value) -> Value:
    """float32 to bfloat16 by integer arithmetic: add just under half of the last place kept, plus its parity."""
    word = emitter.typed(x, "i32")
    bits = emitter.emitted(f"bitcast {x} to {word.type}", word)
    upper = emitter.emitted(f"lshr {bits}, {emitter.number(16, word)}", word)
    parity = emitter.emitted(f"and {upper}, {emitter.number(1, word)}", word)
    up = emitter.emitted(f"add {parity}, {emitter.number(_BELOW_TIE, word)}", word)
    sum_ = emitter.emitted(f"add {bits}, {up.text}", word)
    rounded = emitter.emitted(f"lshr {sum_}, {emitter.number(16, word)}", word)
    quiet = emitter.emitted(f"or {upper}, {emitter.number(_QUIET, word)}", word)
    is_nan = emitter.emitted(f"fcmp uno {x}, {x.text}", emitter.typed(x, "i1"))
    chosen = emitter.emitted(f"select {is_nan}, {quiet}, {rounded}", word)
    half = emitter.typed(x, "i16")
    cut = emitter.emitted(f"trunc {chosen} to {half.type}", half)
    result = emitter.typed(x, "bfloat")
    return emitter.emitted(f"bitcast {cut} to {result.type}", result)


def float_from_double_to_odd(emitter: Emitter, x: Value) -> Value:
    """float64 to the float32 toward zero, its last bit set if that is not exact. Rounding the result to 16 bits gives
    what rounding `x` itself would give; by way of the nearest float32 it would be rounded twice."""
    single, word, flag = (emitter.typed(x, element) for element in ("float", "i32", "i1"))
    nearest = emitter.emitted(f"fptrunc {x} to {single.type}", single)
    back = emitter.emitted(f"fpext {nearest} to {x.type}", x)
    inexact = emitter.emitted(f"fcmp one {back}, {x.text}", flag)
    size, size_back = (emitter.magnitude(value) for value in (x, back))
    outward = emitter.emitted(f"fcmp ogt {size_back}, {size.text}", flag)
    bits = emitter.emitted(f"bitcast {nearest} to {word.type}", word)
    step = emitter.emitted(f"zext {outward} to {word.type}", word)
    inner = emitter.emitted(f"sub {bits}, {step.text}", word)
    odd = emitter.emitted(f"zext {inexact} to {word.type}", word)
    joined = emitter.emitted(f"or {inner}, {odd.text}", word)
    return emitter.emitted(f"bitcast {joined} to {single.type}", single)
