"""Every operation at Node level: operands in (Nodes, numbers, arrays), nodes out; importing it loads every
op.

This module only gathers the functions of `build_*.py` under one name. `PUBLIC` lists those users see as
`graphrt.ops.<name>`; the others are vocabulary for gradient rules and passes.
"""

# ruff: noqa: F401 (the point of this module is to hold these names)

from __future__ import annotations

from . import (
    activations,
    attention,
    contractions,
    elementwise,
    gradient_control,
    logic,
    losses,
    normalization,
    operands,
    random,
    reductions,
    scatter,
    selection,
    views,
    windows,
    winograd,
)
from .build_activations import (
    elu,
    gelu,
    hard_sigmoid,
    hard_swish,
    leaky_relu,
    mish,
    relu6,
    silu,
    softplus,
)
from .build_elementwise import (
    abs,
    add,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    ceil,
    clip,
    cos,
    div,
    equal,
    erf,
    exp,
    expm1,
    floor,
    floor_div,
    greater,
    greater_equal,
    isfinite,
    isnan,
    left_shift,
    less,
    less_equal,
    log,
    log1p,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    mul,
    multiply_high,
    neg,
    not_equal,
    pow,
    reciprocal,
    relu,
    remainder,
    right_shift,
    round,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sqrt,
    square,
    stop_gradient,
    sub,
    tanh,
    where,
)
from .build_index import getitem
from .build_layers import (
    adaptive_avg_pool2d,
    batch_norm,
    batch_statistics,
    clip_by_global_norm,
    global_norm,
    layer_norm,
    scaled_dot_product_attention,
)
from .build_network import (
    avg_pool2d,
    conv2d,
    cross_entropy,
    dense,
    l1_loss,
    log_softmax,
    matmul,
    max_pool2d,
    mse_loss,
    softmax,
    softmax_cross_entropy_dense,
    softmax_cross_entropy_sparse,
)
from .build_random import dropout, random_bits, random_normal, random_uniform
from .build_reductions import (
    argmax,
    argmin,
    norm,
    reduce_all,
    reduce_any,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_prod,
    reduce_sum,
    unbroadcast,
    variance,
)
from .build_views import (
    arange,
    concat,
    expand_dims,
    flatten,
    full,
    full_like,
    gather,
    iota,
    one_hot,
    ones,
    ones_like,
    pad,
    pad_interior,
    reshape,
    reverse,
    scatter_add,
    slice_static,
    split,
    squeeze,
    stack,
    swap_axes,
    swap_last_axes,
    transpose,
    zeros,
    zeros_like,
)
from .operands import (
    Operand,
    as_node,
    broadcast_to,
    cast,
    common_dtype,
    constant,
    fits,
    largest_finite,
    limits,
    lowest,
    promoted,
)

FAMILIES = (
    activations, attention, contractions, elementwise, gradient_control, logic, losses, normalization, random,
    reductions, scatter, selection, views, windows,
)  # fmt: skip

# names whose first operand is a tensor, number or array, or which make a tensor; all return a node (split: a tuple)
PUBLIC = (
    "abs", "adaptive_avg_pool2d", "add", "arange", "argmax", "argmin", "avg_pool2d", "batch_norm", "batch_statistics",
    "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "broadcast_to", "cast", "ceil", "clip",
    "clip_by_global_norm", "concat", "conv2d", "cos", "cross_entropy", "dense", "div", "dropout", "elu", "equal",
    "erf", "exp", "expand_dims", "expm1", "flatten", "floor", "floor_div", "full", "full_like", "gather", "gelu",
    "getitem", "global_norm", "greater", "greater_equal", "hard_sigmoid", "hard_swish", "isfinite", "isnan",
    "l1_loss", "layer_norm", "leaky_relu", "left_shift", "less", "less_equal", "log", "log1p", "log_softmax",
    "logical_and", "logical_not", "logical_or", "logical_xor", "matmul", "max_pool2d", "maximum", "minimum", "mish",
    "mse_loss", "mul", "multiply_high", "neg", "norm", "not_equal", "one_hot", "ones", "ones_like", "pad", "pow",
    "random_bits", "random_normal", "random_uniform", "reciprocal", "reduce_all", "reduce_any", "reduce_max",
    "reduce_mean", "reduce_min", "reduce_prod", "reduce_sum", "relu", "relu6", "remainder", "reshape", "reverse",
    "right_shift", "round", "rsqrt", "scaled_dot_product_attention", "scatter_add", "sigmoid", "sign", "silu", "sin",
    "softmax", "softmax_cross_entropy_dense", "softmax_cross_entropy_sparse", "softplus", "split", "sqrt", "square",
    "squeeze", "stack", "stop_gradient", "sub", "swap_axes", "tanh", "transpose", "variance", "where", "zeros", "zeros_like",
)  # fmt: skip

__all__ = [
    *PUBLIC, "FAMILIES", "PUBLIC", "Operand", "as_node", "common_dtype", "constant", "fits", "iota", "largest_finite",
    "limits", "lowest", "operands", "pad_interior", "promoted", "slice_static", "swap_last_axes", "unbroadcast",
]  # fmt: skip
