"""`from graphrt.ops import operations as P`: operations as objects, `P.ReLU()(x)`, under MindSpore's names.

In: the settings of an operation at construction, its Tensors at the call. Out: Tensors. Each is a function of
`frontend/functional.py` with its settings bound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..frontend import functional


class Primitive:
    """An operation with its settings; calling it applies the function of `graphrt.ops` it stands for."""

    def __init__(self, **settings: Any):
        self.settings = settings

    @property
    def name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.settings.items())})"


def _define(
    name: str, function: str, settings: dict[str, Any] | None = None, doc: str | None = None
) -> type[Primitive]:
    """A Primitive class: `settings` maps constructor arguments to defaults; they go to the function by name."""
    defaults = dict(settings or {})
    names = list(defaults)

    def __init__(self: Primitive, *args: Any, **kwargs: Any) -> None:
        unknown = set(kwargs) - set(names)
        if len(args) > len(names) or unknown:
            raise TypeError(f"{name}({', '.join(names)}) does not take {sorted(unknown) or args}")
        Primitive.__init__(self, **{**defaults, **dict(zip(names, args)), **kwargs})

    def __call__(self: Primitive, *args: Any) -> Any:
        return getattr(functional, function)(*args, **self.settings)

    attributes: dict[str, Any] = {"__init__": __init__, "__call__": __call__, "__module__": __name__}
    attributes["__doc__"] = doc or getattr(functional, function).__doc__
    return type(name, (Primitive,), attributes)


Add, Sub, Mul, Div = (_define(n, n.lower()) for n in ("Add", "Sub", "Mul", "Div"))
TensorAdd, RealDiv = _define("TensorAdd", "add"), _define("RealDiv", "div")
FloorDiv, Mod, Pow = _define("FloorDiv", "floor_div"), _define("Mod", "remainder"), _define("Pow", "pow")
Maximum, Minimum = _define("Maximum", "maximum"), _define("Minimum", "minimum")
Abs, Neg, Sign, Square, Reciprocal = (
    _define(n, n.lower()) for n in ("Abs", "Neg", "Sign", "Square", "Reciprocal")
)
Exp, Log, Log1p, Expm1, Sqrt, Rsqrt = (
    _define(n, n.lower()) for n in ("Exp", "Log", "Log1p", "Expm1", "Sqrt", "Rsqrt")
)
Sin, Cos, Erf, Tanh, Sigmoid = (_define(n, n.lower()) for n in ("Sin", "Cos", "Erf", "Tanh", "Sigmoid"))
Floor, Ceil, Round = (_define(n, n.lower()) for n in ("Floor", "Ceil", "Round"))
ReLU, ReLU6, Softplus, Mish, HSwish, HSigmoid = (
    _define("ReLU", "relu"), _define("ReLU6", "relu6"), _define("Softplus", "softplus"), _define("Mish", "mish"),
    _define("HSwish", "hardswish"), _define("HSigmoid", "hardsigmoid"),
)  # fmt: skip
GeLU = _define("GeLU", "gelu", {"approximate": "tanh"})
Equal, Less, Greater = (_define(n, n.lower()) for n in ("Equal", "Less", "Greater"))
NotEqual, LessEqual = _define("NotEqual", "not_equal"), _define("LessEqual", "less_equal")
GreaterEqual = _define("GreaterEqual", "greater_equal")
LogicalAnd, LogicalOr, LogicalNot = (
    _define("LogicalAnd", "logical_and"), _define("LogicalOr", "logical_or"), _define("LogicalNot", "logical_not")
)  # fmt: skip
IsFinite, IsNan, Select = (
    _define("IsFinite", "isfinite"),
    _define("IsNan", "isnan"),
    _define("Select", "select"),
)
Cast, Reshape, Transpose = (
    _define("Cast", "cast"),
    _define("Reshape", "reshape"),
    _define("Transpose", "transpose"),
)
ExpandDims, BroadcastTo = (
    _define("ExpandDims", "expand_dims"),
    _define("BroadcastTo", "broadcast_to", {"shape": ()}),
)
Flatten, Squeeze = _define("Flatten", "flatten"), _define("Squeeze", "squeeze", {"axis": None})
Concat, Stack = _define("Concat", "concat", {"axis": 0}), _define("Stack", "stack", {"axis": 0})
Gather, OnesLike, ZerosLike = (
    _define("Gather", "gather"), _define("OnesLike", "ones_like"), _define("ZerosLike", "zeros_like")
)  # fmt: skip
Fill, Shape, Rank, Size, DType = (_define(n, n.lower()) for n in ("Fill", "Shape", "Rank", "Size", "DType"))
Softmax = _define("Softmax", "softmax", {"axis": -1})
LogSoftmax = _define("LogSoftmax", "log_softmax", {"axis": -1})
Assign, AssignAdd, AssignSub = (
    _define("Assign", "assign"), _define("AssignAdd", "assign_add"), _define("AssignSub", "assign_sub")
)  # fmt: skip
Depend = _define("Depend", "depend")


def _reduction(name: str, function: str) -> type[Primitive]:
    class Reduction(Primitive):
        __doc__ = f"`{name}(keep_dims=False)(x, axis=())`: over `axis`; () means all axes."

        def __init__(self, keep_dims: bool = False):
            super().__init__(keep_dims=keep_dims)

        def __call__(self, x: Any, axis: Any = ()) -> Any:
            reduce: Callable[..., Any] = getattr(functional, function)
            return reduce(x, None if axis == () else axis, self.settings["keep_dims"])

    Reduction.__name__ = Reduction.__qualname__ = name
    return Reduction


ReduceSum, ReduceMean = _reduction("ReduceSum", "reduce_sum"), _reduction("ReduceMean", "reduce_mean")
ReduceMax, ReduceMin = _reduction("ReduceMax", "reduce_max"), _reduction("ReduceMin", "reduce_min")
ReduceProd, ReduceAll = _reduction("ReduceProd", "reduce_prod"), _reduction("ReduceAll", "reduce_all")
ReduceAny = _reduction("ReduceAny", "reduce_any")


class MatMul(Primitive):
    """The product of two matrices, either transposed first if asked."""

    def __init__(self, transpose_a: bool = False, transpose_b: bool = False):
        super().__init__(transpose_a=transpose_a, transpose_b=transpose_b)

    def __call__(self, x: Any, y: Any) -> Any:
        if self.settings["transpose_a"]:
            x = functional.swapaxes(x, -1, -2)
        if self.settings["transpose_b"]:
            y = functional.swapaxes(y, -1, -2)
        return functional.matmul(x, y)


BatchMatMul = type(
    "BatchMatMul", (MatMul,), {"__doc__": "`MatMul` over leading axes.", "__module__": __name__}
)


class OneHot(Primitive):
    """`OneHot(axis=-1)(indices, depth, on_value, off_value)`."""

    def __init__(self, axis: int = -1):
        super().__init__(axis=axis)

    def __call__(self, indices: Any, depth: int, on_value: Any, off_value: Any) -> Any:
        dtype = on_value.dtype if hasattr(on_value, "dtype") else "float32"
        return functional.one_hot(indices, depth, on_value, off_value, self.settings["axis"], dtype)


class Argmax(Primitive):
    """The position of the largest element along `axis`."""

    def __init__(self, axis: int = -1, output_type: Any = "int32"):
        super().__init__(axis=axis, output_type=output_type)

    def __call__(self, x: Any) -> Any:
        return functional.cast(functional.argmax(x, self.settings["axis"]), self.settings["output_type"])


__all__ = sorted(
    name for name, value in list(globals().items()) if isinstance(value, type) and name != "Callable"
)
