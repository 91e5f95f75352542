"""Tensor methods that are functions of `graphrt.ops` with the Tensor as their first argument: `x.topk(3)`.

In: the Tensor class. Out: the class with more methods; each looks its function up when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

# module of this folder -> functions that become methods of their own name
METHODS = {
    "functional": (
        "amax", "amin", "ceil", "eq", "expm1", "flip", "floor_divide", "ge", "greater", "greater_equal", "gt",
        "isnan", "le", "less", "less_equal", "log1p", "logical_and", "logical_or", "logical_xor", "lt", "ne",
        "negative", "norm", "not_equal", "reciprocal", "remainder", "split", "stop_gradient", "subtract",
        "multiply", "true_divide",
    ),
    "functional_arrays": (
        "argsort", "chunk", "cumprod", "cumsum", "diag", "gather_elements", "index_select", "masked_fill", "median", "movedim",
        "narrow",        "repeat_interleave", "roll", "sort", "tile", "topk", "trace", "tril", "triu", "unbind",
    ),
    "functional_math": (
        "addcdiv", "addcmul", "cosh", "count_nonzero", "erfc", "exp2", "frac", "isclose", "isinf", "lerp", "log2",
        "log10", "logit", "logsumexp", "nan_to_num", "sinh", "tan", "trunc", "xlogy",
    ),
    "functional_inverse": ("acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh"),
    "functional_linear": ("addmm", "bmm", "dot", "inner", "mm", "mv", "outer"),
}  # fmt: skip


def _method(module: str, name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(f"{__package__}.{module}"), name)(self, *args, **kwargs)

    method.__name__ = name
    method.__doc__ = f"`ops.{name}` of this tensor."
    return method


def _expand(self: Any, *size: Any) -> Any:
    """The tensor repeated to a shape; -1 keeps an extent."""
    return self.broadcast_to(size[0] if len(size) == 1 and isinstance(size[0], (tuple, list)) else size)


def _expand_as(self: Any, other: Any) -> Any:
    """The tensor repeated to the shape of `other`."""
    return self.broadcast_to(other.shape)


def _repeat(self: Any, *repeats: Any) -> Any:
    """The tensor repeated repeats[k] times along axis k."""
    return self.tile(repeats[0] if len(repeats) == 1 and isinstance(repeats[0], (tuple, list)) else repeats)


def _numel(self: Any) -> int:
    """The number of elements."""
    return int(self.size)


def _type_as(self: Any, other: Any) -> Any:
    """The elements converted to the element type of `other`."""
    return self.astype(other.dtype)


def _detach(self: Any) -> Any:
    """The tensor as a constant for differentiation."""
    return self.stop_gradient()


def add_methods(cls: type) -> None:
    """Give the Tensor class its methods that are functions, and those it has a docstring: they do what the function of
    their name does."""
    for name, member in vars(cls).items():
        if callable(member) and not name.startswith("_") and not member.__doc__:
            member.__doc__ = f"`ops.{name}` of this tensor."
    for module, names in METHODS.items():
        for name in names:
            if name not in vars(cls):
                setattr(cls, name, _method(module, name))
    for name, method in {
        "expand": _expand, "expand_as": _expand_as, "repeat": _repeat, "numel": _numel, "type_as": _type_as,
        "detach": _detach,
    }.items():  # fmt: skip
        method.__name__ = name
        setattr(cls, name, method)
