"""The functions of `graphrt.ops` on Tensors, with the argument names and defaults users know.

In: Tensors, Parameters, numbers, arrays. Out: Tensors. Each is a build function lifted to Tensors (`lift.py`), or a few
lines over such functions where the user-facing signature differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import DType, as_dtype
from ..errors import ArgumentError
from ..ops import build
from . import random as _random
from .comparison import equal, not_equal
from .functional_layers import (
    adaptive_avg_pool2d,
    batch_norm,
    batch_statistics,
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    elu,
    gelu,
    global_norm,
    hardsigmoid,
    hardswish,
    layer_norm,
    leaky_relu,
    mish,
    relu6,
    scaled_dot_product_attention,
    silu,
    softplus,
)
from .grad_operation import GradOperation
from .gradient import grad, value_and_grad
from .jacobian import hessian, jacfwd, jacrev, jvp, vjp
from .lift import lift
from .location import user_source
from .parameter import Parameter, assign
from .tensor import Tensor
from .vmap import vmap

# ------------------------------------------------------------------------------------------- arithmetic, math

add = lift(build.add)
sub = lift(build.sub)
mul = lift(build.mul)
div = lift(build.div)
floor_div = lift(build.floor_div)
remainder = lift(build.remainder)
pow = lift(build.pow)
maximum = lift(build.maximum)
minimum = lift(build.minimum)
abs = lift(build.abs)
neg = lift(build.neg)
sign = lift(build.sign)
square = lift(build.square)
reciprocal = lift(build.reciprocal)
exp = lift(build.exp)
expm1 = lift(build.expm1)
log = lift(build.log)
log1p = lift(build.log1p)
sqrt = lift(build.sqrt)
rsqrt = lift(build.rsqrt)
sin = lift(build.sin)
cos = lift(build.cos)
erf = lift(build.erf)
tanh = lift(build.tanh)
sigmoid = lift(build.sigmoid)
relu = lift(build.relu)
floor = lift(build.floor)
ceil = lift(build.ceil)
round = lift(build.round)
isfinite = lift(build.isfinite)
isnan = lift(build.isnan)
matmul = lift(build.matmul)
_clip = lift(build.clip)


def clip(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """x limited to min..max; None leaves that side open."""
    if min is None and max is None:
        raise ArgumentError("clip: min or max is needed", at=user_source(), given="min=None, max=None")
    return _clip(x, min, max)


subtract, multiply, divide, true_divide, negative, power = sub, mul, div, div, neg, pow
floor_divide, mod, fmod, absolute, clamp = floor_div, remainder, remainder, abs, clip

# --------------------------------------------------------------------------------- comparison, logic, choice

less = lift(build.less)
less_equal = lift(build.less_equal)
greater = lift(build.greater)
greater_equal = lift(build.greater_equal)
eq, ne, lt, le, gt, ge = equal, not_equal, less, less_equal, greater, greater_equal
logical_and, logical_or, logical_xor = (
    lift(build.logical_and),
    lift(build.logical_or),
    lift(build.logical_xor),
)
logical_not = lift(build.logical_not)
bitwise_and, bitwise_or, bitwise_xor = (
    lift(build.bitwise_and),
    lift(build.bitwise_or),
    lift(build.bitwise_xor),
)
bitwise_not = lift(build.bitwise_not)
bitwise_left_shift = lift(build.left_shift)
bitwise_right_shift = lift(build.right_shift)
where = lift(build.where)
stop_gradient = lift(build.stop_gradient)


def select(condition: Any, input: Any, other: Any) -> Tensor:
    """`input` where `condition` holds, else `other`."""
    return where(condition, input, other)


# ------------------------------------------------------------------------------------------ shapes and types

broadcast_to = lift(build.broadcast_to)
expand_dims = lift(build.expand_dims)
squeeze = lift(build.squeeze)
swapaxes = lift(build.swap_axes)
flip = lift(build.reverse)
stack_ = lift(build.stack)
concat_ = lift(build.concat)
_reshape = lift(build.reshape)
_transpose = lift(build.transpose)
_cast = lift(build.cast)
_flatten = lift(build.flatten)
_getitem = lift(build.getitem)
_pad = lift(build.pad)
_split = lift(build.split)
unsqueeze = expand_dims


def cast(input: Any, dtype: Any) -> Tensor:
    """The elements converted to `dtype` (float to integer truncates)."""
    return _cast(input, as_dtype(dtype))


def reshape(input: Any, shape: Any) -> Tensor:
    """The same elements in another shape; one extent may be -1."""
    return _reshape(input, _python_ints(shape))


def transpose(input: Any, input_perm: Any = None) -> Tensor:
    """Axes reordered: axis k of the result is axis input_perm[k]."""
    return _transpose(input, None if input_perm is None else _python_ints(input_perm))


permute = transpose


def flatten(input: Any, order: str = "C", *, start_dim: int = 1, end_dim: int = -1) -> Tensor:
    """Axes start_dim..end_dim merged into one; by default all but the batch axis. `order` must be "C"."""
    if order != "C":
        raise ArgumentError("flatten: unknown order", at=user_source(), expected="'C'", given=repr(order))
    return _flatten(input, start_dim, end_dim)


def concat(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Tensors joined along an existing axis."""
    return concat_(list(tensors), axis)


def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis."""
    return stack_(list(tensors), axis)


cat = concat


def split(tensor: Any, split_size_or_sections: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """`tensor` cut along `axis` into pieces of one size (the last may be smaller) or of the given sizes.
    `split_size_or_sections`: the one size, or the sizes."""
    return _split(tensor, split_size_or_sections, axis)


def pad(input_x: Any, padding: Any, mode: str = "constant", value: float = 0) -> Tensor:
    """`input_x` surrounded by `value`: (before, after) pairs from the last axis on, or one pair per axis.
    `mode` must be "constant"."""
    if mode != "constant":
        raise ArgumentError("pad: unknown mode", at=user_source(), expected="'constant'", given=repr(mode))
    return _pad(input_x, padding, 0 if value is None else value)


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index], as NumPy means it. Boolean masks have no static shape: outside a trace only."""
    parts = index if isinstance(index, tuple) else (index,)
    masks = [p for p in parts if isinstance(p, (Tensor, np.ndarray)) and as_dtype(p.dtype).kind == "bool"]
    if masks and not x._symbolic():
        arrays = tuple(p.asnumpy() if isinstance(p, Tensor) else p for p in parts)
        return Tensor(x.asnumpy()[arrays])
    return _getitem(x, index)


def _python_ints(shape: Any) -> Any:
    """Shapes may be given as Tensors whose value is known."""
    if isinstance(shape, Tensor):
        return tuple(int(v) for v in shape.asnumpy().reshape(-1))
    return shape if isinstance(shape, (int, np.integer)) else tuple(int(v) for v in shape)


def shape(input_x: Any) -> tuple[int, ...]:
    """The shape."""
    return tuple(input_x.shape)


def rank(input_x: Any) -> int:
    """The number of axes."""
    return len(input_x.shape)


def size(input_x: Any) -> int:
    """The number of elements."""
    return input_x.size


def dtype(input_x: Any) -> DType:
    """The element type."""
    return as_dtype(input_x.dtype)


# ------------------------------------------------------------------------------------------------ reductions

reduce_sum = lift(build.reduce_sum)
reduce_mean = lift(build.reduce_mean)
reduce_prod = lift(build.reduce_prod)
amax = lift(build.reduce_max)
amin = lift(build.reduce_min)
all = lift(build.reduce_all)
any = lift(build.reduce_any)
argmax = lift(build.argmax)
argmin = lift(build.argmin)
norm = lift(build.norm)
_variance = lift(build.variance)
reduce_max, reduce_min, reduce_all, reduce_any = amax, amin, all, any


def sum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum over `dim` (an int, several, or None for all)."""
    return reduce_sum(input if dtype is None else cast(input, dtype), dim, keepdim)


def mean(x: Any, axis: Any = None, keep_dims: bool = False) -> Tensor:
    """The mean over `axis` (an int, several, or None for all)."""
    return reduce_mean(x, None if axis == () else axis, keep_dims)


def prod(input: Any, axis: Any = None, keep_dims: bool = False, dtype: Any = None) -> Tensor:
    """The product over `axis`."""
    return reduce_prod(input if dtype is None else cast(input, dtype), axis, keep_dims)


def max(input: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Without `axis` the largest element; with it `(values, positions)` along that axis."""
    if axis is None:
        return amax(input, None, keepdims)
    return amax(input, axis, keepdims), argmax(input, axis, keepdims)


def min(input: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Without `axis` the smallest element; with it `(values, positions)` along that axis."""
    if axis is None:
        return amin(input, None, keepdims)
    return amin(input, axis, keepdims), argmin(input, axis, keepdims)


def var(input: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """The mean squared deviation from the mean; `ddof` is subtracted from the count it is divided by."""
    value = _variance(input, axis, keepdims)
    if not ddof:
        return value
    count = input.size // (value.size if value.size else 1)
    if count <= ddof:
        raise ArgumentError(
            "var: ddof leaves nothing to divide by", at=user_source(), given=f"ddof={ddof} of {count}"
        )
    return value * (count / (count - ddof))


def std(input: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """The square root of `var`."""
    return sqrt(var(input, axis, ddof, keepdims))


# --------------------------------------------------------------------------------------- making new tensors

full = lift(build.full)
full_like = lift(build.full_like)
zeros = lift(build.zeros)
zeros_like = lift(build.zeros_like)
ones = lift(build.ones)
ones_like = lift(build.ones_like)
arange = lift(build.arange)
_one_hot = lift(build.one_hot)
_gather = lift(build.gather)
_scatter_add = lift(build.scatter_add)


def one_hot(
    indices: Any, depth: int, on_value: Any = 1, off_value: Any = 0, axis: int = -1, dtype: Any = "float32"
) -> Tensor:
    """`on_value` where the new axis equals the index, `off_value` elsewhere. `depth`: the extent of the
    new axis."""
    return _one_hot(indices, depth, on_value, off_value, axis, dtype)


def gather(input_params: Any, input_indices: Any, axis: int = 0) -> Tensor:
    """Slices of `input_params` along `axis` at the given positions. `input_indices`: integers of any
    shape, which takes the place of the axis; negative ones count from the end."""
    return _gather(input_params, input_indices, axis)


def fill(type: Any, shape: Any, value: Any) -> Tensor:
    """A tensor of one value."""
    return full(_python_ints(shape), value, as_dtype(type))


# --------------------------------------------------------------------------------------- layers and losses

softmax = lift(build.softmax)
log_softmax = lift(build.log_softmax)
cross_entropy = lift(build.cross_entropy)
mse_loss = lift(build.mse_loss)
l1_loss = lift(build.l1_loss)
softmax_cross_entropy_sparse = lift(build.softmax_cross_entropy_sparse)
softmax_cross_entropy_dense = lift(build.softmax_cross_entropy_dense)
dense = lift(build.dense)
_conv2d = lift(build.conv2d)
_max_pool2d = lift(build.max_pool2d)
_avg_pool2d = lift(build.avg_pool2d)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    pad_mode: str = "valid",
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution of (N, C, H, W) with (out, C / groups, height, width). `pad_mode`: "valid", "same" or
    "pad". `weight` (out, in / group, height, width), `bias` (out,) or None."""
    from .padding import window_padding

    kernel = tuple(weight.shape[2:])
    sides = window_padding("conv2d", pad_mode, padding, tuple(input.shape[2:]), kernel, stride, dilation)
    return _conv2d(input, weight, bias, stride, sides, dilation, groups)


def max_pool2d(input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Tensor:
    """The largest value of each window; the stride is the window's size unless given."""
    return _max_pool2d(input, kernel_size, stride, padding)


def avg_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, count_include_pad: bool = True
) -> Tensor:
    """The mean of each window; the stride is the window's size unless given. `count_include_pad`: whether
    padding counts as zeros."""
    return _avg_pool2d(input, kernel_size, stride, padding, count_include_pad)


# ------------------------------------------------------------------------------------------------ randomness

random_bits = lift(build.random_bits)
_random_uniform = lift(build.random_uniform)
_random_normal = lift(build.random_normal)
_dropout = lift(build.dropout)


def _key(key: Any) -> Any:
    if key is None:
        key = _random.default_key()
    return _random.advance(key) if isinstance(key, Parameter) else key


def uniform(
    shape: Any, minval: float = 0.0, maxval: float = 1.0, dtype: Any = "float32", key: Any = None
) -> Tensor:
    """Uniform numbers in [minval, maxval). `key`: uint32[2]; without one the stream that `set_seed` starts."""
    return _random_uniform(_key(key), _python_ints(shape), minval, maxval, dtype)


def normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = "float32", key: Any = None
) -> Tensor:
    """Normally distributed numbers. `key`: see `uniform`. `mean` and `stddev`: of the distribution."""
    return _random_normal(_key(key), _python_ints(shape), mean, stddev, dtype)


def rand(*size: int, dtype: Any = "float32") -> Tensor:
    """Uniform numbers in [0, 1)."""
    return uniform(size, dtype=dtype)


def randn(*size: int, dtype: Any = "float32") -> Tensor:
    """Normally distributed numbers."""
    return normal(size, dtype=dtype)


def dropout(input: Any, p: float = 0.5, training: bool = True, key: Any = None) -> Tensor:
    """Each element 0 with probability `p`, else scaled by 1 / (1 - p). `key`: see `uniform`. Without
    `training`, `input` itself."""
    if not training or p == 0:
        return input if isinstance(input, Tensor) else Tensor(input)
    return _dropout(input, p, _key(key))


# ---------------------------------------------------------------------------------------------------- state


def assign_add(variable: Parameter, value: Any) -> Tensor:
    """variable += value."""
    return assign(variable, variable + value)


def assign_sub(variable: Parameter, value: Any) -> Tensor:
    """variable -= value."""
    return assign(variable, variable - value)


def value_of(x: Tensor) -> Tensor:
    """The Tensor itself, or a Parameter's value at this point."""
    return x.value() if isinstance(x, Parameter) else x


def depend(value: Any, expr: Any) -> Any:
    """`value`: effects of `expr` are part of the graph without further ado; present for compatibility."""
    return value


__all__ = [
    "GradOperation", "abs", "absolute", "adaptive_avg_pool2d", "add", "all", "amax", "amin", "any", "arange", "argmax", "argmin",
    "assign", "assign_add", "assign_sub", "avg_pool2d", "batch_norm", "batch_statistics", "bitwise_and",
    "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "broadcast_to", "cast",
    "cat", "ceil", "clamp", "clip", "clip_by_global_norm", "clip_by_norm", "clip_by_value", "concat", "conv2d", "cos",
    "cross_entropy", "dense", "depend", "div", "divide", "dropout", "dtype", "elu", "eq", "equal", "erf", "exp",
    "expand_dims", "expm1", "fill", "flatten", "flip", "floor", "floor_div", "floor_divide", "fmod", "full",
    "full_like", "gather", "ge", "gelu", "getitem", "global_norm", "grad", "greater", "greater_equal", "gt",
    "hardsigmoid", "hardswish", "hessian", "isfinite", "isnan", "jacfwd", "jacrev", "jvp", "l1_loss", "layer_norm", "le", "leaky_relu", "less",
    "less_equal", "log", "log1p", "log_softmax", "logical_and", "logical_not", "logical_or", "logical_xor", "lt",
    "matmul", "max", "max_pool2d", "maximum", "mean", "min", "minimum", "mish", "mod", "mse_loss", "mul", "multiply",
    "ne", "neg", "negative", "norm", "normal", "not_equal", "one_hot", "ones", "ones_like", "pad", "permute", "pow",
    "power", "prod", "rand", "randn", "random_bits", "rank", "reciprocal", "reduce_all", "reduce_any", "reduce_max",
    "reduce_mean", "reduce_min", "reduce_prod", "reduce_sum", "relu", "relu6", "remainder", "reshape", "round",
    "rsqrt", "scaled_dot_product_attention", "select", "shape", "sigmoid", "sign", "silu", "sin", "size", "softmax",
    "softmax_cross_entropy_dense", "softmax_cross_entropy_sparse", "softplus", "split", "sqrt", "square", "squeeze",
    "stack", "std", "stop_gradient", "sub", "subtract", "sum", "swapaxes", "tanh", "transpose", "true_divide", "uniform", "unsqueeze",
    "value_and_grad", "var", "vjp", "vmap", "where", "zeros", "zeros_like",
]  # fmt: skip
