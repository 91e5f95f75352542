"""Arithmetic on values in registers: conversions, operations of one and two operands, all lanes combined into one.

In: a writer and operands, all scalars or all vectors. Out: the result. What NumPy defines stays defined here:
conversions to integers saturate, division by zero gives zero, min and max propagate NaN.
"""

from __future__ import annotations

from ..dtypes import DType, bool_, float32
from ..loops.ir import COMPARISONS
from . import narrow
from .emit_text import Type, Value, Writer, literal, register_element

_FLOAT_COMPARE = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}
_FLOAT_BINARY = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_INT_BINARY = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor", "shl": "shl"}
_BOOL_BINARY = {"add": "or", "mul": "and", "min": "and", "max": "or"}
_FLOAT_UNARY = {
    "abs": "fabs",
    "sqrt": "sqrt",
    "floor": "floor",
    "ceil": "ceil",
    "round": "roundeven",
    "trunc": "trunc",
}


def cast(writer: Writer, value: Value, source: DType, target: DType) -> Value:
    """A number of another type: float to integer truncates and saturates, to bool is != 0."""
    if source == target:
        return value
    result = value.type.of(register_element(target))
    if target == bool_:
        operation = "fcmp une" if source.is_float else "icmp ne"
        return writer.value(f"{operation} {value}, {value.type.zero}", result)
    if target.name == "bfloat16" and value.type.element != "float":
        return narrow.bfloat_from_float(writer, cast(writer, value, source, float32))
    if source.is_float and target.is_float:
        return _cast_float(writer, value, source, target)
    if source.is_float:
        sign = "u" if target.kind == "uint" else "s"
        return writer.call(result, f"llvm.fpto{sign}i.sat.{result.suffix}.{value.type.suffix}", value)
    if target.is_float:
        operation = "sitofp" if source.kind == "int" else "uitofp"
        return writer.value(f"{operation} {value} to {result}", result)
    bits = 1 if source == bool_ else source.size * 8
    if bits == target.size * 8:
        return value
    if bits > target.size * 8:
        operation = "trunc"
    else:
        operation = "sext" if source.kind == "int" else "zext"
    return writer.value(f"{operation} {value} to {result}", result)


def _cast_float(writer: Writer, value: Value, source: DType, target: DType) -> Value:
    if target.name == "bfloat16":
        return narrow.bfloat_from_float(writer, value)
    operation = "fpext" if target.size > source.size else "fptrunc"
    if source.size == target.size:  # bfloat16 to float16
        value = cast(writer, value, source, float32)
    elif target.name == "float16" and value.type.element == "double":
        value = narrow.float_from_double_to_odd(writer, value)
    result = value.type.of(register_element(target))
    return writer.value(f"{operation} {value} to {result}", result)


def unary(writer: Writer, op: str, dtype: DType, x: Value) -> Value:
    """`op` of loops.ir.Unary."""
    if op == "not":
        ones = writer.constant("true" if dtype == bool_ else "-1", x.type)
        return writer.value(f"xor {x}, {ones}", x.type)
    if dtype.is_float:
        if op == "neg":
            return writer.value(f"fneg {x}", x.type)
        return writer.call(x.type, f"llvm.{_FLOAT_UNARY[op]}.{x.type.suffix}", x)
    if op == "neg":
        return writer.value(f"sub {x.type} {x.type.zero}, {x.text}", x.type)
    if op == "abs":
        if dtype.kind == "uint":
            return x
        return writer.call(x.type, f"llvm.abs.{x.type.suffix}", x, Value("false", Type("i1")))
    return x  # rounding an integer


def fused_multiply_add(writer: Writer, x: Value, y: Value, z: Value) -> Value:
    return writer.call(x.type, f"llvm.fma.{x.type.suffix}", x, y, z)


def pair_dot(writer: Writer, x: Value, y: Value, z: Value, instruction: bool) -> Value:
    """See `ir.PairDot`. Without the instruction for a whole vector: two fused multiplications."""
    if instruction and z.lanes == 16:
        name, pairs = "llvm.x86.avx512bf16.dpbf16ps.512", z.type.__class__("bfloat", 32)
        halves = [writer.value(f"bitcast {v} to {pairs}", pairs) for v in (x, y)]
        return writer.call(z.type, name, z, *halves)
    for shift in (True, False):
        factors = []
        for v in (x, y):
            word = (
                f"shl {v}, {writer.constant(16, v.type)}"
                if shift
                else f"and {v}, {writer.constant(0xFFFF0000, v.type)}"
            )
            factors.append(writer.value(f"bitcast {writer.value(word, v.type)} to {z.type}", z.type))
        z = fused_multiply_add(writer, factors[0], factors[1], z)
    return z


def select(writer: Writer, condition: Value, x: Value, y: Value) -> Value:
    return writer.value(f"select {condition}, {x}, {y}", x.type)


def bitcast(writer: Writer, x: Value, target: DType) -> Value:
    result = x.type.of(register_element(target))
    return writer.value(f"bitcast {x} to {result}", result)


def binary(writer: Writer, op: str, dtype: DType, x: Value, y: Value) -> Value:
    """`op` of loops.ir.Binary on operands of one dtype."""
    if op in COMPARISONS:
        if dtype.is_float:
            operation = f"fcmp {_FLOAT_COMPARE[op]}"
        else:
            sign = "" if op in ("eq", "ne") else ("u" if dtype.kind in ("uint", "bool") else "s")
            operation = f"icmp {sign}{op}"
        return writer.value(f"{operation} {x}, {y.text}", x.type.of("i1"))
    if dtype == bool_ and op in _BOOL_BINARY:
        return writer.value(f"{_BOOL_BINARY[op]} {x}, {y.text}", x.type)
    if op in ("min", "max"):
        if dtype.is_float:
            name = f"{op}imum"
        else:
            name = f"{'u' if dtype.kind == 'uint' else 's'}{op}"
        return writer.call(x.type, f"llvm.{name}.{x.type.suffix}", x, y)
    if dtype.is_float:
        return writer.value(f"{_FLOAT_BINARY[op]} {x}, {y.text}", x.type)
    if op in _INT_BINARY:
        return writer.value(f"{_INT_BINARY[op]} {x}, {y.text}", x.type)
    if op == "shr":
        return writer.value(f"{'ashr' if dtype.kind == 'int' else 'lshr'} {x}, {y.text}", x.type)
    if op == "mulhi":
        return _multiply_high(writer, dtype, x, y)
    return _divide(writer, op, dtype, x, y)


def _multiply_high(writer: Writer, dtype: DType, x: Value, y: Value) -> Value:
    """The upper half of the product."""
    bits = dtype.size * 8
    wide = x.type.of(f"i{2 * bits}")
    a = writer.instruction(f"zext {x} to {wide}")
    b = writer.instruction(f"zext {y} to {wide}")
    product = writer.instruction(f"mul {wide} {a}, {b}")
    high = writer.instruction(f"lshr {wide} {product}, {writer.constant(bits, wide)}")
    return writer.value(f"trunc {wide} {high} to {x.type}", x.type)


def _divide(writer: Writer, op: str, dtype: DType, x: Value, y: Value) -> Value:
    """Integer division; by zero it gives zero (as NumPy), never a trap."""
    type_, flag, zero = x.type, x.type.of("i1"), x.type.zero
    one = writer.constant(1, type_)
    is_zero = writer.value(f"icmp eq {y}, {zero}", flag)
    safe = writer.instruction(f"select {is_zero}, {type_} {one}, {y}")
    unsigned = dtype.kind in ("uint", "bool")
    if not unsigned:  # smallest / -1 overflows: divide by 1 and negate instead
        is_minus = writer.value(f"icmp eq {y}, {writer.constant(-1, type_)}", flag)
        safe = writer.instruction(f"select {is_minus}, {type_} {one}, {type_} {safe}")
    quotient = writer.instruction(f"{'udiv' if unsigned else 'sdiv'} {type_} {x.text}, {safe}")
    if not unsigned:
        negated = writer.instruction(f"sub {type_} {zero}, {x.text}")
        quotient = writer.instruction(f"select {is_minus}, {type_} {negated}, {type_} {quotient}")
    if (
        op in ("floor_div", "rem") and not unsigned
    ):  # one less where a rest has the other sign than the divisor
        product = writer.instruction(f"mul {type_} {quotient}, {y.text}")
        rest = writer.instruction(f"sub {type_} {x.text}, {product}")
        inexact = writer.instruction(f"icmp ne {type_} {rest}, {zero}")
        signs = writer.instruction(f"xor {type_} {rest}, {y.text}")
        opposite = writer.instruction(f"icmp slt {type_} {signs}, {zero}")
        adjust = writer.instruction(f"and {flag} {inexact}, {opposite}")
        extended = writer.instruction(f"sext {flag} {adjust} to {type_}")
        quotient = writer.instruction(f"add {type_} {quotient}, {extended}")
    if op == "rem":
        product = writer.instruction(f"mul {type_} {quotient}, {y.text}")
        quotient = writer.instruction(f"sub {type_} {x.text}, {product}")
    return writer.value(f"select {is_zero}, {type_} {zero}, {type_} {quotient}", type_)


def reduce_lanes(writer: Writer, combine: str, dtype: DType, x: Value) -> Value:
    """All lanes combined ("add", "max", "min", "mul") into one scalar."""
    result = Type(x.type.element)
    if dtype.is_float and combine in ("add", "mul"):
        initial = Value(literal(-0.0 if combine == "add" else 1.0, dtype), result)
        name = f"llvm.vector.reduce.f{combine}.{x.type.suffix}"
        return writer.call(result, name, initial, x, flags="reassoc ")  # in a tree, not lane after lane
    if dtype.is_float:
        operation = "fmaximum" if combine == "max" else "fminimum"
    elif dtype == bool_:
        operation = _BOOL_BINARY.get(combine, combine)
    elif combine in ("add", "mul"):
        operation = combine
    else:
        operation = f"{'u' if dtype.kind == 'uint' else 's'}{combine}"
    return writer.call(result, f"llvm.vector.reduce.{operation}.{x.type.suffix}", x)
