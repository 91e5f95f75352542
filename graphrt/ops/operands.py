"""What the build functions do to their operands: make nodes of them, promote their types, broadcast their
shapes.

In: Nodes, Python numbers, NumPy arrays. Out: Nodes of one element type, or of one type and shape.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from ..dtypes import DType, as_dtype, bool_, float32, int32, int64, promote
from ..errors import ArgumentError, DTypeError, ShapeError
from ..ir import Literal, Node, apply, current_source
from . import selection, views

Operand: TypeAlias = Node | int | float | bool | np.ndarray | np.generic | list | tuple


def limits(dtype: DType) -> tuple[float | int, float | int]:
    """The smallest and largest value of a type; infinities for floats."""
    if dtype.is_float:
        return float("-inf"), float("inf")
    if dtype == bool_:
        return False, True
    info = np.iinfo(dtype.numpy)
    return int(info.min), int(info.max)


def lowest(dtype: DType) -> float | int:
    """The smallest value of a type: -inf for floats."""
    return limits(dtype)[0]


def largest_finite(dtype: DType) -> float:
    """The largest finite value of a float type."""
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype.numpy).max)


def fits(value: int, dtype: DType) -> bool:
    """Whether a Python integer can be written in `dtype` (any integer can in floats, rounded)."""
    low, high = limits(dtype)
    return low <= value <= high


def is_scalar(value: object) -> bool:
    """A Python or NumPy number: it takes the element type of the tensor it meets."""
    return isinstance(value, (builtins.bool, int, float, np.generic))


def constant(value: object, dtype: DType | str | type | None = None) -> Node:
    """A Constant node. Without `dtype`: bool, int32 (int64 if needed) or float32 for Python numbers and
    lists, the array's own type for NumPy arrays. Raises ArgumentError for an integer the type cannot hold."""
    if dtype is not None:
        dtype = as_dtype(dtype)
    if isinstance(value, np.generic):
        dtype = dtype or as_dtype(value.dtype)
        value = value.item() if value.dtype.kind in "biuf" else np.asarray(value)
    if isinstance(value, (list, tuple)):
        array = np.asarray(value)
        default = {"b": bool_, "i": int32, "f": float32}.get(array.dtype.kind)
        value = array if default is None else array.astype(default.numpy)
    if isinstance(value, int) and not isinstance(value, builtins.bool):
        dtype = dtype or (int32 if fits(value, int32) else int64)
        if dtype != bool_ and not fits(value, dtype):
            raise ArgumentError(
                f"the number {value} does not fit into the tensor's element type",
                expected=" to ".join(map(str, limits(dtype))), given=value,
                fix="cast the tensor to a wider type first", at=current_source(),
            )  # fmt: skip
    elif isinstance(value, float):
        dtype = dtype or float32
    elif not isinstance(value, (builtins.bool, np.ndarray)):
        raise DTypeError(
            "not a tensor, a number or an array", expected="Tensor, number, bool or NumPy array",
            given=type(value).__name__,
            at=current_source(),
        )  # fmt: skip
    array = np.asarray(value)
    target = dtype or as_dtype(array.dtype)
    with np.errstate(over="ignore"):  # a float too large for the type becomes infinity
        return apply(views.Constant(Literal(array.astype(target.numpy))))


def as_node(value: Operand, dtype: DType | None = None) -> Node:
    """The operand as a node; numbers and arrays become constants (of `dtype` if given)."""
    return value if isinstance(value, Node) else constant(value, dtype)


def cast(x: Operand, dtype: DType | str | type) -> Node:
    """x converted to `dtype`. Float to integer truncates towards zero; to bool means != 0."""
    dtype = as_dtype(dtype)
    if is_scalar(x) and not (isinstance(x, float) and not dtype.is_float):
        return constant(x, dtype)
    x = as_node(x)
    return x if x.dtype == dtype else apply(selection.Cast(dtype), x)


def _scalar_dtype(value: object, dtype: DType) -> DType:
    """The element type in which a number meets a tensor of `dtype`: the tensor's, or the smallest step up in
    kind."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not dtype.is_float:
        return float32
    if isinstance(value, int) and not isinstance(value, builtins.bool) and dtype == bool_:
        return int32
    return dtype


def _array_dtype(value: Operand) -> DType:
    if isinstance(value, (Node, np.ndarray)):
        return as_dtype(value.dtype)
    return constant(value).dtype


def common_dtype(*values: Operand) -> DType:
    """The element type of an operation on these operands."""
    numbers = [v for v in values if is_scalar(v)]
    tensors = [_array_dtype(v) for v in values if not is_scalar(v)]
    if not tensors:
        tensors = [constant(v.item() if isinstance(v, np.generic) else v).dtype for v in numbers]
    dtype = tensors[0]
    for other in tensors[1:]:
        dtype = promote(dtype, other)
    for number in numbers:
        dtype = _scalar_dtype(number, dtype)
    return dtype


def promoted(*values: Operand, floating: bool = False, numeric: bool = False) -> list[Node]:
    """The operands as nodes of one element type; `floating` makes it a float type (float32 for integers and
    bool), `numeric` makes bool int32."""
    dtype = common_dtype(*values)
    if floating and not dtype.is_float:
        dtype = float32
    if numeric and dtype == bool_:
        dtype = int32
    return [cast(v, dtype) for v in values]


def broadcast_shapes(name: str, *nodes: Node) -> tuple[int, ...]:
    """The common shape of operands whose axes, counted from the right, are equal or 1."""
    rank = max(len(n.shape) for n in nodes)
    shape = []
    for axis in range(-rank, 0):
        extents = {n.shape[axis] for n in nodes if len(n.shape) >= -axis} - {1}
        if len(extents) > 1:
            raise ShapeError(
                f"{name}: shapes do not broadcast", expected="equal extents, or 1, on every axis from the right",
                given=" and ".join(n.type.describe() for n in nodes), at=current_source(),
            )  # fmt: skip
        shape.append(extents.pop() if extents else 1)
    return tuple(shape)


def broadcast_to(x: Operand, shape: Sequence[int]) -> Node:
    """x repeated to `shape`: its axes, counted from the right, are equal to the shape's or 1. An extent of -1
    keeps the one of x."""
    x, target = as_node(x), list(shape)
    offset = len(target) - len(x.shape)
    for axis, extent in enumerate(target):
        if extent == -1 and axis >= offset:
            target[axis] = x.shape[axis - offset]
    if offset < 0 or any(extent < 0 for extent in target):
        raise ShapeError(
            "broadcast_to: the shape cannot be reached", expected=list(shape), given=x.type.describe(),
            at=current_source(),
        )  # fmt: skip
    if tuple(target) == x.shape:
        return x
    return apply(views.Broadcast(tuple(target), tuple(range(offset, len(target)))), x)


def together(name: str, *values: Operand, floating: bool = False, numeric: bool = False) -> list[Node]:
    """The operands as nodes of one element type and one shape (`promoted`, then broadcast)."""
    nodes = promoted(*values, floating=floating, numeric=numeric)
    shape = broadcast_shapes(name, *nodes)
    return [broadcast_to(n, shape) for n in nodes]


def normal_axis(name: str, axis: int, rank: int) -> int:
    """A possibly negative axis as 0 <= axis < rank."""
    if not -rank <= axis < rank:
        expected = f"{-rank} to {rank - 1}" if rank else "no axis, the tensor has none"
        raise ShapeError(f"{name}: axis out of range", expected=expected, given=axis, at=current_source())
    return int(axis) % rank


def normal_axes(name: str, axes: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """One, several or all (None) axes as an increasing tuple; a repeated axis is an error."""
    if axes is None:
        return tuple(range(rank))
    wanted = [axes] if isinstance(axes, (int, np.integer)) else list(axes)
    result = sorted(normal_axis(name, axis, rank) for axis in wanted)
    if len(set(result)) != len(result):
        raise ShapeError(
            f"{name}: an axis is named twice",
            expected="different axes",
            given=tuple(wanted),
            at=current_source(),
        )
    return tuple(result)
