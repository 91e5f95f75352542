"""Computing in another precision: what mixed precision does to the operands of operations.

In: a `Precision` kept by a Cell (`Cell.to_float`, `graphrt.amp`). Out: inside that Cell, conversions around operations:
parameters stay float32 (the master copy that optimizers update), their values and the activations are converted.

Three kinds:
- "all" (to_float, O2, O3): inputs of the Cell and Parameters are converted to `dtype`, so everything is computed in it.
- "products" (O1): operands of matrix products and convolutions are converted, their results are float32 again.
- "auto": operands of products are converted and results stay as they are; operations that need digits get float32.
Whatever the kind, softmax, normalization and losses compute in float32, and sums of products accumulate in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ..dtypes import DType, float32
from ..ir import Node
from .parameter import Parameter
from .tensor import Tensor
from .tree import flatten, unflatten

# names of the functions in ops/build_*.py
PRODUCTS = frozenset({"matmul", "dense", "conv2d", "conv2d_transpose"})
NEED_FLOAT32 = frozenset({
    "batch_norm", "batch_statistics", "cross_entropy", "exp", "expm1", "global_norm", "l1_loss", "layer_norm", "log",
    "log1p", "log_softmax", "mse_loss", "norm", "pow", "reciprocal", "rsqrt", "scaled_dot_product_attention", "softmax",
    "softmax_cross_entropy_dense", "softmax_cross_entropy_sparse", "softplus", "variance",
})  # fmt: skip
_PICKS = frozenset({"gather"})
_AS_WRITTEN = frozenset({"cast", "random_bits"})  # conversions the user wrote, and what has no floats


@dataclass(frozen=True)
class Precision:
    """`dtype`: the type to compute in. `kind`: "all", "products" or "auto"; see the top of this file. `output`: what the
    Cell's float results are converted to; None leaves them as they are."""

    dtype: DType
    kind: str = "all"
    output: DType | None = None


_active: ContextVar[Precision | None] = ContextVar("graphrt_precision", default=None)


@contextmanager
def computing_in(precision: Precision | None) -> Iterator[None]:
    """Operations inside follow `precision`."""
    token = _active.set(precision)
    try:
        yield
    finally:
        _active.reset(token)


def run_in(
    precision: Precision, construct: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> Any:
    """construct(*args, **kwargs) of a Cell with this precision."""
    if precision.kind == "all":
        args, kwargs = _converted((tuple(args), kwargs), precision.dtype)
    with computing_in(precision):
        result = construct(*args, **kwargs)
    if precision.output is None:
        return result
    with computing_in(None):
        return _converted(result, precision.output)


def _converted(structure: Any, dtype: DType) -> Any:
    """Float Tensors anywhere in `structure` converted; Parameters stay what they are."""
    from .functional import cast

    leaves, shape = flatten(structure, lambda value: isinstance(value, Tensor))
    with computing_in(None):
        leaves = [cast(t, dtype) if _converts(t, dtype) else t for t in leaves]
    return unflatten(shape, leaves)


def _converts(tensor: Tensor, dtype: DType) -> bool:
    return tensor.dtype.is_float and tensor.dtype != dtype and not isinstance(tensor, Parameter)


def adjusted(
    function: Callable[..., Any], tensors: Sequence[Tensor]
) -> tuple[Callable[[Sequence[Node]], Sequence[Node]], Callable[[Node], Node]]:
    """How the operands of a function in ops/build_*.py and its results are converted under the active precision: two
    functions of Nodes."""
    precision, name = _active.get(), function.__name__
    if precision is None or name in _AS_WRITTEN:
        return _as_they_are, _as_it_is
    low = precision.dtype
    # moving statistics and other untrained Parameters keep their digits
    own = [isinstance(t, Parameter) and (t.requires_grad or precision.kind != "all") for t in tensors]
    activations = [not isinstance(t, Parameter) for t in tensors]
    if name in NEED_FLOAT32 and precision.kind != "products":
        lowered = [t.dtype for t, free in zip(tensors, activations) if free and t.dtype.is_float]
        narrow = precision.kind == "all" and low != float32 and low in lowered
        return _to(float32, [True] * len(tensors), only=low), _result_to(low) if narrow else _as_it_is
    if (
        precision.kind == "all" and name in _PICKS
    ):  # rows of a table: their gradients add up in the table's type
        return _as_they_are, _result_to(low)
    if precision.kind == "all":
        return _to(low, own), _as_it_is
    if name in PRODUCTS:
        result = _result_to(float32) if precision.kind == "products" else _as_it_is
        return _to(low, [True] * len(tensors), only=float32), result
    return _as_they_are, _as_it_is


def _as_they_are(nodes: Sequence[Node]) -> Sequence[Node]:
    return nodes


def _as_it_is(node: Node) -> Node:
    return node


def _to(
    dtype: DType, chosen: Sequence[bool], only: DType | None = None
) -> Callable[[Sequence[Node]], list[Node]]:
    """Converts the chosen float nodes (of type `only`, if given) to `dtype`."""
    from ..ops import build

    def convert(nodes: Sequence[Node]) -> list[Node]:
        return [
            build.cast(n, dtype) if wanted and n.dtype.is_float and (only is None or n.dtype == only) else n
            for n, wanted in zip(nodes, chosen)
        ]

    return convert


def _result_to(dtype: DType) -> Callable[[Node], Node]:
    from ..ops import build

    return lambda node: build.cast(node, dtype) if node.dtype.is_float else node
