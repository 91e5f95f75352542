"""`from graphrt.ops import operations as P`: operations as objects, `P.ReLU()(x)`, under MindSpore's names.

In: the settings of an operation at construction, its Tensors at the call. Out: Tensors. Most are a function of
`graphrt.ops` with its settings bound, listed in the table below; the others are in `frontend/primitives_network.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..frontend.primitives import Primitive, define
from ..frontend.primitives_network import (
    Argmax,
    ArgMaxWithValue,
    Argmin,
    ArgMinWithValue,
    AvgPool,
    BatchMatMul,
    BatchNorm,
    Conv2D,
    CumSum,
    Dropout,
    Einsum,
    EmbeddingLookup,
    L2Loss,
    LayerNorm,
    MatMul,
    MaxPool,
    NLLLoss,
    OneHot,
    Pad,
    Print,
    ReverseV2,
    SigmoidCrossEntropyWithLogits,
    Slice,
    SoftmaxCrossEntropyWithLogits,
    SparseSoftmaxCrossEntropyWithLogits,
    Split,
    StridedSlice,
    TopK,
    reduction,
)
from . import functional as F

# class -> (function of graphrt.ops that takes the same Tensors, {setting: default})
_TABLE: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "ACos": (F.acos, {}), "Abs": (F.abs, {}), "Acosh": (F.acosh, {}), "Asin": (F.asin, {}), "Asinh": (F.asinh, {}),
    "Atan": (F.atan, {}), "Atan2": (F.atan2, {}), "Atanh": (F.atanh, {}), "CumProd": (F.cumprod, {}),
    "StandardNormal": (F.normal, {}), "UniformReal": (F.uniform, {}), "Xlogy": (F.xlogy, {}),
    "AccumulateNV2": (F.addn, {}), "Add": (F.add, {}), "AddN": (F.addn, {}),
    "Assign": (F.assign, {}), "AssignAdd": (F.assign_add, {}), "AssignSub": (F.assign_sub, {}),
    "BCEWithLogitsLoss": (F.binary_cross_entropy_with_logits, {"reduction": "mean"}), "BiasAdd": (F.bias_add, {}),
    "BinaryCrossEntropy": (F.binary_cross_entropy, {"reduction": "mean"}), "BitwiseAnd": (F.bitwise_and, {}),
    "BitwiseOr": (F.bitwise_or, {}), "BitwiseXor": (F.bitwise_xor, {}),
    "BroadcastTo": (F.broadcast_to, {"shape": ()}), "Cast": (F.cast, {}), "Ceil": (F.ceil, {}),
    "Concat": (F.concat, {"axis": 0}), "Cos": (F.cos, {}), "Cosh": (F.cosh, {}), "DType": (F.dtype, {}),
    "Depend": (F.depend, {}), "Div": (F.div, {}), "Elu": (F.elu, {"alpha": 1.0}), "Equal": (F.equal, {}),
    "Erf": (F.erf, {}), "Erfc": (F.erfc, {}), "Exp": (F.exp, {}), "ExpandDims": (F.expand_dims, {}),
    "Expm1": (F.expm1, {}), "Eye": (F.eye, {}), "Fill": (F.fill, {}), "Flatten": (F.flatten, {}),
    "Floor": (F.floor, {}), "FloorDiv": (F.floor_div, {}), "FloorMod": (F.remainder, {}), "Gather": (F.gather, {}),
    "GatherD": (F.gather_d, {}), "GatherNd": (F.gather_nd, {}), "GatherV2": (F.gather, {}),
    "GeLU": (F.gelu, {"approximate": "tanh"}), "Gelu": (F.gelu, {"approximate": "tanh"}),
    "Greater": (F.greater, {}), "GreaterEqual": (F.greater_equal, {}), "HSigmoid": (F.hardsigmoid, {}),
    "HShrink": (F.hardshrink, {"lambd": 0.5}), "HSwish": (F.hardswish, {}), "Inv": (F.reciprocal, {}),
    "Invert": (F.bitwise_not, {}), "IsFinite": (F.isfinite, {}), "IsInf": (F.isinf, {}), "IsNan": (F.isnan, {}),
    "KLDivLoss": (F.kl_div, {"reduction": "mean"}), "L2Normalize": (F.l2_normalize, {"axis": 0, "epsilon": 1e-4}),
    "Lerp": (F.lerp, {}), "Less": (F.less, {}), "LessEqual": (F.less_equal, {}), "LinSpace": (F.linspace, {}),
    "Log": (F.log, {}), "Log1p": (F.log1p, {}), "LogSoftmax": (F.log_softmax, {"axis": -1}),
    "LogicalAnd": (F.logical_and, {}), "LogicalNot": (F.logical_not, {}), "LogicalOr": (F.logical_or, {}),
    "LogicalXor": (F.logical_xor, {}), "MaskedFill": (F.masked_fill, {}), "Maximum": (F.maximum, {}),
    "Meshgrid": (F.meshgrid, {"indexing": "xy"}), "Minimum": (F.minimum, {}), "Mish": (F.mish, {}),
    "Mod": (F.remainder, {}), "Mul": (F.mul, {}), "Neg": (F.neg, {}), "NotEqual": (F.not_equal, {}),
    "Ones": (F.ones, {}), "OnesLike": (F.ones_like, {}), "PReLU": (F.prelu, {}), "Pack": (F.stack, {"axis": 0}),
    "Partial": (F.partial, {}), "Pow": (F.pow, {}), "Range": (F.arange, {}), "Rank": (F.rank, {}),
    "ReLU": (F.relu, {}), "ReLU6": (F.relu6, {}), "RealDiv": (F.div, {}), "Reciprocal": (F.reciprocal, {}),
    "Reshape": (F.reshape, {}), "Rint": (F.round, {}), "Round": (F.round, {}), "Rsqrt": (F.rsqrt, {}),
    "SeLU": (F.selu, {}), "Select": (F.select, {}), "Shape": (F.shape, {}), "SiLU": (F.silu, {}),
    "Sigmoid": (F.sigmoid, {}), "Sign": (F.sign, {}), "Sin": (F.sin, {}), "Sinh": (F.sinh, {}), "Size": (F.size, {}),
    "SmoothL1Loss": (F.smooth_l1_loss, {"beta": 1.0, "reduction": "none"}),
    "SoftShrink": (F.softshrink, {"lambd": 0.5}), "Softmax": (F.softmax, {"axis": -1}),
    "Softplus": (F.softplus, {}), "Softsign": (F.softsign, {}),
    "Sort": (F.sort, {"axis": -1, "descending": False}), "Sqrt": (F.sqrt, {}), "Square": (F.square, {}),
    "Squeeze": (F.squeeze, {"axis": None}), "Stack": (F.stack, {"axis": 0}), "Sub": (F.sub, {}), "Tan": (F.tan, {}),
    "Tanh": (F.tanh, {}), "TensorAdd": (F.add, {}), "Tile": (F.tile, {}), "Transpose": (F.transpose, {}),
    "Trunc": (F.trunc, {}), "Unpack": (F.unstack, {"axis": 0}), "UnsortedSegmentSum": (F.unsorted_segment_sum, {}),
    "Unstack": (F.unstack, {"axis": 0}), "Zeros": (F.zeros, {}), "ZerosLike": (F.zeros_like, {}),
}  # fmt: skip
_REDUCTIONS = {
    "ReduceAll": F.reduce_all, "ReduceAny": F.reduce_any, "ReduceMax": F.reduce_max, "ReduceMean": F.reduce_mean,
    "ReduceMin": F.reduce_min, "ReduceProd": F.reduce_prod, "ReduceSum": F.reduce_sum,
}  # fmt: skip

globals().update({name: define(name, *row) for name, row in _TABLE.items()})
globals().update({name: reduction(name, function) for name, function in _REDUCTIONS.items()})

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...  # the names of the two tables


__all__ = [
    "ArgMaxWithValue", "ArgMinWithValue", "Argmax", "Argmin", "AvgPool", "BatchMatMul", "BatchNorm", "Conv2D", "CumSum", "Dropout",
    "Einsum", "EmbeddingLookup", "L2Loss", "LayerNorm", "MatMul", "MaxPool", "NLLLoss", "OneHot", "Pad", "Primitive", "Print",
    "ReverseV2", "SigmoidCrossEntropyWithLogits", "Slice", "SoftmaxCrossEntropyWithLogits",
    "SparseSoftmaxCrossEntropyWithLogits", "Split", "StridedSlice", "TopK",
]  # fmt: skip
__all__ += _TABLE
__all__ += _REDUCTIONS
