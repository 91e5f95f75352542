"""How each op is said in ONNX: a table from op name to emitter, and the emitters of elementwise ops and reductions.

In: a SymbolicNode whose operands have names already. Out: the name of the ONNX value that holds its result.
Ops with an ONNX counterpart of the same meaning say so in their class attribute `onnx` and need nothing here; the
views are in `view_emitters.py`, contractions, pooling and losses in `network_emitters.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..ops.base import Elementwise
from .symbolic import SymbolicNode
from .writer import Writer, tensor_type

Emitter = Callable[[Writer, SymbolicNode], str]
EMITTERS: dict[str, Emitter] = {}


def emitter(*names: str) -> Callable[[Emitter], Emitter]:
    """Register the emitter of the ops with these names."""

    def register(function: Emitter) -> Emitter:
        EMITTERS.update(dict.fromkeys(names, function))
        return function

    return register


def find_emitter(op_name: str, op_class: type) -> Emitter | None:
    """The emitter of an op, or None if ONNX has no words for it."""
    if op_name in EMITTERS:
        return EMITTERS[op_name]
    named = issubclass(op_class, Elementwise) and getattr(op_class, "onnx", None)
    return same_name if named else None


def same_name(writer: Writer, node: SymbolicNode) -> str:
    """An elementwise op whose class names its ONNX operator."""
    return writer.emit(node.op.onnx, *operands(writer, node))


# ---- broadcasting ----------------------------------------------------------------------------------------------


def aligned_shape(node: SymbolicNode) -> tuple:
    """A broadcast node's input shape with 1 inserted for the axes the broadcast adds."""
    extents = dict(zip(node.static("axes"), node.inputs[0].shape))
    return tuple(extents.get(axis, 1) for axis in range(node.rank))


def aligned_value(writer: Writer, node: SymbolicNode) -> str:
    """A broadcast node's input, with axes inserted only as far as ONNX's implicit broadcasting needs them."""
    axes = node.static("axes")
    first = axes[0] if axes else node.rank
    inserted = [axis - first for axis in range(first, node.rank) if axis not in axes]
    return writer.unsqueeze(writer.value(node.inputs[0]), inserted)


def operands(writer: Writer, node: SymbolicNode, own_axes: int = 0) -> list[str]:
    """The operands of an elementwise op; explicit broadcasts are left to ONNX where the result keeps its shape.

    The last `own_axes` axes (the matrices of MatMul) are not subject to broadcasting and must be there in full.
    """
    leading = node.rank - own_axes
    shapes = [
        aligned_shape(x) if x.name == "broadcast" and x.rank == node.rank else x.shape for x in node.inputs
    ]
    values = []
    for position, operand in enumerate(node.inputs):
        implicit = (
            shapes[position] != operand.shape
            and shapes[position][leading:] == operand.shape[leading:]
            and all(
                shapes[position][axis] == extent
                or any(shape[axis] == extent for k, shape in enumerate(shapes) if k != position)
                for axis, extent in enumerate(operand.shape[:leading])
            )
        )
        if implicit:
            values.append(aligned_value(writer, operand))
        else:
            shapes[position] = operand.shape
            values.append(writer.value(operand))
    return values


# ---- elementwise -----------------------------------------------------------------------------------------------


def _one(writer: Writer, node: SymbolicNode) -> str:
    return writer.constant(1, node.dtype.numpy)


@emitter("not_equal")
def _not_equal(writer: Writer, node: SymbolicNode) -> str:
    return writer.emit("Not", writer.emit("Equal", *operands(writer, node)))


@emitter("rsqrt")
def _rsqrt(writer: Writer, node: SymbolicNode) -> str:
    return writer.emit("Reciprocal", writer.emit("Sqrt", *operands(writer, node)))


@emitter("log1p")
def _log1p(writer: Writer, node: SymbolicNode) -> str:
    return writer.emit("Log", writer.emit("Add", *operands(writer, node), _one(writer, node)))


@emitter("expm1")
def _expm1(writer: Writer, node: SymbolicNode) -> str:
    return writer.emit("Sub", writer.emit("Exp", *operands(writer, node)), _one(writer, node))


@emitter("normal_cdf")
def _normal_cdf(writer: Writer, node: SymbolicNode) -> str:
    def number(value: float) -> str:
        return writer.constant(value, node.dtype.numpy)

    erf = writer.emit("Erf", writer.emit("Mul", *operands(writer, node), number(math.sqrt(0.5))))
    return writer.emit("Mul", writer.emit("Add", erf, number(1)), number(0.5))


@emitter("normal_density")
def _normal_density(writer: Writer, node: SymbolicNode) -> str:
    def number(value: float) -> str:
        return writer.constant(value, node.dtype.numpy)

    (x,) = operands(writer, node)
    power = writer.emit("Exp", writer.emit("Mul", writer.emit("Mul", x, x), number(-0.5)))
    return writer.emit("Mul", power, number(math.sqrt(0.5 / math.pi)))


@emitter("floor_div")
def _floor_div(writer: Writer, node: SymbolicNode) -> str:
    x, y = operands(writer, node)
    if node.dtype.is_float:
        return writer.emit("Floor", writer.emit("Div", x, y))
    # ONNX divides integers towards zero: take the (floor) remainder off first, so that the division is exact
    return writer.emit("Div", writer.emit("Sub", x, writer.emit("Mod", x, y)), y)


@emitter("remainder")
def _remainder(writer: Writer, node: SymbolicNode) -> str:
    x, y = operands(writer, node)
    if node.dtype.is_integer:
        return writer.emit("Mod", x, y)
    quotient = writer.emit("Floor", writer.emit("Div", x, y))
    return writer.emit("Sub", x, writer.emit("Mul", quotient, y))


@emitter("shift_left", "shift_right")
def _shift(writer: Writer, node: SymbolicNode) -> str:
    if node.dtype.kind != "uint":
        raise node.error(
            f"export: ONNX shifts unsigned integers only ({node.name})",
            given=node.dtype,
            fix="cast to uint32 first",
        )
    return writer.emit(
        "BitShift", *operands(writer, node), direction=node.name.removeprefix("shift_").upper()
    )


@emitter("bitwise_and", "bitwise_or", "bitwise_xor")
def _bitwise(writer: Writer, node: SymbolicNode) -> str:
    kind = node.name.removeprefix("bitwise_").capitalize()
    return writer.emit(kind if node.dtype.kind == "bool" else f"Bitwise{kind}", *operands(writer, node))


@emitter("is_finite")
def _is_finite(writer: Writer, node: SymbolicNode) -> str:
    (x,) = operands(writer, node)
    return writer.emit("Not", writer.emit("Or", writer.emit("IsInf", x), writer.emit("IsNaN", x)))


@emitter("cast")
def _cast(writer: Writer, node: SymbolicNode) -> str:
    return writer.emit("Cast", *operands(writer, node), to=tensor_type(node.dtype))


# ---- reductions ------------------------------------------------------------------------------------------------


def _reduce(writer: Writer, node: SymbolicNode, operator: str, axes: Sequence[int], keepdims: bool) -> str:
    value = writer.value(node.inputs[0])
    if not axes:
        return writer.emit("Identity", value)
    if operator != "ReduceSum" and writer.opset < 18:
        return writer.emit(operator, value, axes=list(axes), keepdims=int(keepdims))
    return writer.emit(operator, value, writer.integers(*axes), keepdims=int(keepdims))


@emitter("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_mean")
def _reduction(writer: Writer, node: SymbolicNode) -> str:
    operator = "Reduce" + node.name.removeprefix("reduce_").capitalize()
    return _reduce(writer, node, operator, node.static("axes"), node.static("keepdims"))


@emitter("arg_max", "arg_min")
def _extreme_position(writer: Writer, node: SymbolicNode) -> str:
    operator = {"arg_max": "ArgMax", "arg_min": "ArgMin"}[node.name]
    position = writer.emit(operator, writer.value(node.inputs[0]), axis=node.static("axis"), keepdims=0)
    return writer.emit("Cast", position, to=tensor_type(node.dtype))


@emitter("constant")
def _constant(writer: Writer, node: SymbolicNode) -> str:
    return writer.constant(np.asarray(node.attributes["value"].array))
