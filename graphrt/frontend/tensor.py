"""Tensor: the value users compute with. It holds a NumPy array, or a graph Node while a function is being traced.

In: arrays, numbers, nested lists. Out: the same operators and methods in both forms; every operation is one function
of `frontend/functional.py`, which either runs it (eager) or adds nodes to the graph being traced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dtypes import DType, as_dtype
from ..errors import TraceError
from ..ir import Node, TensorType
from .location import user_source
from .tensor_methods import add_methods

if TYPE_CHECKING:
    from .paths import Path
    from .trace import Trace


def _functional() -> Any:
    from . import functional  # functional imports this module

    return functional


def to_array(value: object, dtype: object = None) -> np.ndarray:
    """`value` as a C-contiguous array that shares no memory with it.

    Python floats (also nested in lists) become float32, Python ints int64; NumPy arrays keep their type.
    Raises DTypeError for values graphrt has no element type for.
    """
    if isinstance(value, Tensor):
        value = value.asnumpy()
    array = np.array(value, order="C", copy=True)
    if dtype is None and array.dtype == np.float64 and not isinstance(value, (np.ndarray, np.generic)):
        dtype = np.float32
    element_type = as_dtype(array.dtype if dtype is None else dtype)
    return np.ascontiguousarray(array, element_type.numpy).reshape(array.shape)


def _operator(name: str, reflected: bool = False) -> Callable[[Any, Any], Any]:
    def method(self: Tensor, other: Any) -> Any:
        if not isinstance(other, (Tensor, int, float, bool, np.ndarray, np.generic, list, tuple)):
            return NotImplemented
        function = getattr(_functional(), name)
        return function(other, self) if reflected else function(self, other)

    method.__name__, method.__doc__ = name, f"`ops.{name}` of this tensor and another."
    return method


def _unary(name: str) -> Callable[[Any], Any]:
    def method(self: Tensor) -> Any:
        return getattr(_functional(), name)(self)

    method.__name__, method.__doc__ = name, f"`ops.{name}` of this tensor."
    return method


class Tensor:
    """An n-dimensional array of one element type.

    `Tensor(data, dtype=None)` copies `data` (array, number, nested list, Tensor). `Tensor(shape=..., dtype=...,
    init=...)` fills a new tensor from an initializer. `input_data`: the `data` of the first form.
    """

    __array_priority__ = 1000
    _array: np.ndarray | None
    _node: Node | None
    _trace: Trace | None
    _path: Path | None = None  # the way through the traced function that made it

    def __init__(
        self, input_data: object = None, dtype: object = None, shape: Any = None, init: object = None
    ):
        self._node = self._trace = None
        if init is not None:
            from ..common.initializer import initializer

            self._array = initializer(init, shape, dtype if dtype is not None else "float32")._value()
        elif isinstance(input_data, Tensor) and input_data._symbolic():
            source = _functional().value_of(input_data) if dtype is None else input_data.astype(dtype)
            self._array, self._node, self._trace = source._array, source._node, source._trace
        else:
            self._array = to_array(input_data, dtype)

    @staticmethod
    def from_numpy(array: np.ndarray) -> Tensor:
        """A Tensor holding a copy of `array`."""
        return Tensor(array)

    @staticmethod
    def _wrap(array: np.ndarray) -> Tensor:
        """An eager Tensor that takes `array` over without copying it."""
        tensor = Tensor.__new__(Tensor)
        tensor._array, tensor._node, tensor._trace = array, None, None
        return tensor

    @staticmethod
    def _symbol(node: Node, trace: Trace) -> Tensor:
        """A traced Tensor: a node of the graph `trace` is building."""
        tensor = Tensor.__new__(Tensor)
        tensor._array, tensor._node, tensor._trace = None, node, trace
        return tensor

    # ------------------------------------------------------------------------------------------- what it is

    @property
    def type(self) -> TensorType:
        """Shape and element type."""
        if self._node is not None:
            return self._node.type
        assert self._array is not None
        return TensorType(tuple(self._array.shape), as_dtype(self._array.dtype))

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents of the axes."""
        return self._node.shape if self._node is not None else tuple(self._array.shape)  # type: ignore[union-attr]

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self.type.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.type.size

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.dtype.size

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.type.bytes

    def dim(self) -> int:
        """Number of axes."""
        return self.ndim

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __hash__(self) -> int:
        return id(self)

    # -------------------------------------------------------------------------------------- leaving graphrt

    def _value(self, action: str = "a NumPy value") -> np.ndarray:
        """The array (no copy); raises TraceError while tracing, where there is none yet."""
        if self._trace is not None and not self._trace.active:
            from .trace import leaked

            raise leaked(self)
        if self._symbolic():
            raise TraceError(
                f"{action} of a tensor is not known while the graph is built",
                at=user_source(), expected="a Python value", given=f"a traced tensor {self.type.describe()}",
                fix="keep it a tensor: ops.where(condition, x, y) chooses between values, "
                "and `if condition:` works on tensors; everything else in Python needs shapes, dtypes and Python values",
            )  # fmt: skip
        assert self._array is not None
        return self._array

    def _symbolic(self) -> bool:
        """Whether the value is unknown because it belongs to a trace (Parameters: whether one is running)."""
        return self._node is not None

    def asnumpy(self) -> np.ndarray:
        """A NumPy copy."""
        return np.array(self._value(".asnumpy()"), order="C", copy=True)

    numpy = asnumpy

    def tolist(self) -> Any:
        """Nested Python lists (a number for a 0-d tensor)."""
        return self._value(".tolist()").tolist()

    def item(self, *index: int) -> Any:
        """The only element, or the element at `index`, as a Python number."""
        return self._value(".item()").item(*index)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        value = self._value("a NumPy array")
        if copy is False and (dtype is None or np.dtype(dtype) == value.dtype):
            view = value.view()
            view.setflags(write=False)
            return view
        return np.array(value, dtype=dtype, copy=True)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """`array + tensor` is a Tensor; other NumPy functions see an array."""
        name = _UFUNC_OPERATORS.get(ufunc.__name__)
        if method == "__call__" and name is not None and len(inputs) == 2 and not kwargs:
            return getattr(_functional(), name)(*inputs)
        arrays = [x.__array__() if isinstance(x, Tensor) else x for x in inputs]
        return getattr(ufunc, method)(*arrays, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from .tree import flatten, unflatten

        leaves, structure = flatten((args, kwargs), lambda value: isinstance(value, Tensor))
        args, kwargs = unflatten(structure, [leaf.__array__() for leaf in leaves])
        return function(*args, **kwargs)

    def __bool__(self) -> bool:
        from .trace import current_trace

        trace = current_trace()
        if trace is not None and self._symbolic():
            from .paths import truth

            return truth(trace, self)
        return bool(self._value("the truth value"))

    def __int__(self) -> int:
        return int(self._value("int()").item())

    def __float__(self) -> float:
        return float(self._value("float()").item())

    def __index__(self) -> int:
        if not self.dtype.is_integer:
            raise TypeError(f"only integer tensors can be an index, not {self.type.describe()}")
        return int(self._value("an index value").item())

    def __contains__(self, item: object) -> bool:
        return bool(
            np.any(self._value("membership (`in`)") == (item._value() if isinstance(item, Tensor) else item))
        )

    def __format__(self, spec: str) -> str:
        return (
            format(self._value("a formatted value"), spec)
            if self.ndim == 0 or not spec
            else format(str(self), spec)
        )

    def __str__(self) -> str:
        return f"<traced {self.type.describe()}>" if self._symbolic() else str(self._array)

    def __repr__(self) -> str:
        kind = self.dtype.name.capitalize().replace("Uint", "UInt").replace("Bf", "BF")
        head = f"Tensor(shape={list(self.shape)}, dtype={kind}"
        if self._symbolic():
            return f"{head}, traced)"
        array = self._array
        assert array is not None
        if array.ndim == 0:
            return (
                f"{head}, value= {array.item():.6g})"
                if self.dtype.is_float
                else f"{head}, value= {array.item()})"
            )
        text = np.array2string(array, separator=", ", formatter={"float_kind": lambda x: f"{x: .8e}"})
        return f"{head}, value=\n{text})"

    # ------------------------------------------------------------------------------------------- operators

    __add__, __radd__ = _operator("add"), _operator("add", reflected=True)
    __sub__, __rsub__ = _operator("sub"), _operator("sub", reflected=True)
    __mul__, __rmul__ = _operator("mul"), _operator("mul", reflected=True)
    __truediv__, __rtruediv__ = _operator("div"), _operator("div", reflected=True)
    __floordiv__, __rfloordiv__ = _operator("floor_div"), _operator("floor_div", reflected=True)
    __mod__, __rmod__ = _operator("remainder"), _operator("remainder", reflected=True)
    __pow__, __rpow__ = _operator("pow"), _operator("pow", reflected=True)
    __matmul__, __rmatmul__ = _operator("matmul"), _operator("matmul", reflected=True)
    __and__, __rand__ = _operator("bitwise_and"), _operator("bitwise_and", reflected=True)
    __or__, __ror__ = _operator("bitwise_or"), _operator("bitwise_or", reflected=True)
    __xor__, __rxor__ = _operator("bitwise_xor"), _operator("bitwise_xor", reflected=True)
    __lshift__, __rshift__ = _operator("bitwise_left_shift"), _operator("bitwise_right_shift")
    __lt__, __le__ = _operator("less"), _operator("less_equal")
    __gt__, __ge__ = _operator("greater"), _operator("greater_equal")
    __eq__ = _operator("equal")  # type: ignore[assignment]
    __ne__ = _operator("not_equal")  # type: ignore[assignment]
    __neg__, __abs__, __invert__ = _unary("neg"), _unary("abs"), _unary("bitwise_not")

    def __pos__(self) -> Tensor:
        return self

    def __round__(self, digits: int = 0) -> Tensor:
        return (
            _functional().round(self) if not digits else _functional().round(self * 10**digits) / 10**digits
        )

    def __getitem__(self, index: Any) -> Tensor:
        return _functional().getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        """Eager only. The old array stays as it was for whoever still holds it."""
        if self._symbolic():
            raise TraceError(
                "a traced tensor cannot be changed in place", at=user_source(), given=self.type.describe(),
                fix="build a new tensor: ops.where(mask, value, x) or ops.concat([...])",
            )  # fmt: skip
        assert self._array is not None
        changed = self._array.copy()
        parts = index if isinstance(index, tuple) else (index,)
        parts = tuple(p._value() if isinstance(p, Tensor) else p for p in parts)
        changed[parts] = value._value() if isinstance(value, Tensor) else value
        self._replace(changed)

    def _replace(self, array: np.ndarray) -> None:
        self._array = array

    def __iter__(self) -> Iterator[Tensor]:
        for k in range(len(self)):
            yield self[k]

    # --------------------------------------------------------------------------------------------- methods

    abs, neg, exp, log, sqrt = _unary("abs"), _unary("neg"), _unary("exp"), _unary("log"), _unary("sqrt")
    rsqrt, square, tanh, sigmoid = _unary("rsqrt"), _unary("square"), _unary("tanh"), _unary("sigmoid")
    sin, cos, erf, relu = _unary("sin"), _unary("cos"), _unary("erf"), _unary("relu")
    floor, ceil, round, sign = _unary("floor"), _unary("ceil"), _unary("round"), _unary("sign")
    isfinite, logical_not = _unary("isfinite"), _unary("logical_not")
    add, sub, mul, div = _operator("add"), _operator("sub"), _operator("mul"), _operator("div")
    pow, matmul, equal = _operator("pow"), _operator("matmul"), _operator("equal")
    maximum, minimum = _operator("maximum"), _operator("minimum")

    @property
    def T(self) -> Tensor:
        """The axes in reverse order."""
        return _functional().transpose(self, tuple(reversed(range(self.ndim))))

    def astype(self, dtype: object, copy: bool = True) -> Tensor:
        """The elements converted to `dtype`."""
        if self.dtype == as_dtype(dtype) and not copy:
            return self
        return _functional().cast(self, dtype)

    def to(self, dtype: object) -> Tensor:
        """The elements converted to `dtype`."""
        return self.astype(dtype)

    def copy(self) -> Tensor:
        """A Tensor of its own with the same value."""
        return Tensor(self)

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape; one extent may be -1."""
        return _functional().reshape(self, shape[0] if len(shape) == 1 and not _is_int(shape[0]) else shape)

    view = reshape

    def view_as(self, other: Tensor) -> Tensor:
        """The same elements in the shape of `other`."""
        return self.reshape(other.shape)

    def transpose(self, *axes: Any) -> Tensor:
        """The axes in the given order (reversed without arguments)."""
        if not axes:
            return self.T
        return _functional().transpose(self, axes[0] if len(axes) == 1 and not _is_int(axes[0]) else axes)

    permute = transpose

    def swapaxes(self, axis0: Any, axis1: Any) -> Tensor:
        return _functional().swapaxes(self, axis0, axis1)

    def flatten(self, order: str = "C", *, start_dim: Any = 0, end_dim: Any = -1) -> Tensor:
        """The axes start_dim..end_dim merged into one (all of them by default)."""
        return _functional().flatten(self, order, start_dim=start_dim, end_dim=end_dim)

    def ravel(self) -> Tensor:
        return self.reshape((-1,))

    def squeeze(self, axis: Any = None) -> Tensor:
        return _functional().squeeze(self, axis)

    def expand_dims(self, axis: Any) -> Tensor:
        return _functional().expand_dims(self, axis)

    unsqueeze = expand_dims

    def broadcast_to(self, shape: Any) -> Tensor:
        return _functional().broadcast_to(self, shape)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        return _functional().clip(self, min, max)

    clamp = clip

    def sum(self, axis: Any = None, dtype: object = None, keepdims: Any = False) -> Tensor:
        """The sum over `axis` (an int, several, or None for all)."""
        return _functional().sum(self, axis, keepdims, dtype=dtype)

    def mean(self, axis: Any = None, keep_dims: Any = False) -> Tensor:
        return _functional().mean(self, axis, keep_dims)

    def prod(self, axis: Any = None, keep_dims: Any = False, dtype: object = None) -> Tensor:
        return _functional().prod(self, axis, keep_dims, dtype=dtype)

    def max(self, axis: Any = None, keepdims: Any = False) -> Tensor:
        return _functional().amax(self, axis, keepdims)

    def min(self, axis: Any = None, keepdims: Any = False) -> Tensor:
        return _functional().amin(self, axis, keepdims)

    def var(self, axis: Any = None, ddof: Any = 0, keepdims: Any = False) -> Tensor:
        return _functional().var(self, axis, ddof, keepdims)

    def std(self, axis: Any = None, ddof: Any = 0, keepdims: Any = False) -> Tensor:
        return _functional().std(self, axis, ddof, keepdims)

    def argmax(self, axis: Any = None, keepdims: Any = False) -> Tensor:
        """The position of the largest element along `axis` (in the flattened tensor without one)."""
        return _functional().argmax(self, axis, keepdims)

    def argmin(self, axis: Any = None, keepdims: Any = False) -> Tensor:
        return _functional().argmin(self, axis, keepdims)

    def all(self, axis: Any = None, keep_dims: Any = False) -> Tensor:
        return _functional().all(self, axis, keep_dims)

    def any(self, axis: Any = None, keep_dims: Any = False) -> Tensor:
        return _functional().any(self, axis, keep_dims)

    def softmax(self, axis: Any = -1) -> Tensor:
        return _functional().softmax(self, axis)


def tensor(input_data: object = None, dtype: object = None, shape: Any = None, init: object = None) -> Tensor:
    """`Tensor(input_data, dtype, shape, init)`."""
    return Tensor(input_data, dtype, shape, init)


def from_numpy(array: np.ndarray) -> Tensor:
    """A Tensor holding a copy of `array`."""
    return Tensor(array)


def _conversion(dtype: str) -> Callable[[Any], Any]:
    def method(self: Tensor) -> Any:
        return self.astype(dtype)

    method.__doc__ = f"The elements converted to {dtype}."
    return method


# Set from outside: inside the class body these names would hide the builtin types from annotations.
for _name, _dtype in {
    "float": "float32",
    "half": "float16",
    "int": "int32",
    "long": "int64",
    "bool": "bool",
}.items():
    setattr(Tensor, _name, _conversion(_dtype))
add_methods(Tensor)

_UFUNC_OPERATORS = {
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div",
    "floor_divide": "floor_div", "remainder": "remainder", "power": "pow", "matmul": "matmul",
    "equal": "equal", "not_equal": "not_equal", "less": "less", "less_equal": "less_equal",
    "greater": "greater", "greater_equal": "greater_equal", "maximum": "maximum", "minimum": "minimum",
    "bitwise_and": "bitwise_and", "bitwise_or": "bitwise_or", "bitwise_xor": "bitwise_xor",
}  # fmt: skip


def _is_int(value: object) -> bool:
    return isinstance(value, (int, np.integer))
