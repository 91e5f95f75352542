"""Build functions for layers and losses: matrix products, convolution, pooling, softmax, cross entropy.

Images are NCHW, convolution weights OIHW, padding is (top, bottom, left, right).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ArgumentError, DTypeError, ShapeError
from ..ir import Node, apply, current_source
from . import contractions, losses, windows
from .build_elementwise import abs, add, div, equal, mul, neg, not_equal, square, sub, where
from .build_reductions import reduce_mean, reduce_sum
from .build_views import expand_dims, gather, reshape, squeeze, transpose
from .operands import (
    Operand,
    as_node,
    broadcast_shapes,
    broadcast_to,
    cast,
    fits,
    normal_axis,
    promoted,
    together,
)

Pair = int | Sequence[int]


def matmul(x: Operand, y: Operand) -> Node:
    """The matrix product with NumPy's rules: (..., M, K) @ (..., K, N), leading axes broadcast, vectors are a
    row on the left and a column on the right. `y`: the second operand."""
    x, y = promoted(x, y, numeric=True)
    if not x.shape or not y.shape:
        raise ShapeError(
            "matmul: a tensor without axes has no matrix product", expected="(..., M, K) and (..., K, N)",
            given=f"{x.type.describe()} and {y.type.describe()}", fix="multiply by a scalar with *", at=current_source(),
        )  # fmt: skip
    if len(x.shape) == 1:
        return squeeze(matmul(expand_dims(x, 0), y), -1 if len(y.shape) == 1 else -2)
    if len(y.shape) == 1:
        return squeeze(matmul(x, expand_dims(y, 1)), -1)
    if x.shape[-1] != y.shape[-2]:
        raise ShapeError(
            "matmul: inner dimensions differ",
            expected=f"second operand with {x.shape[-1]} rows, to match {x.type.describe()}", given=y.type.describe(),
            at=current_source(),
        )  # fmt: skip
    if len(y.shape) == 2 and len(x.shape) > 2:  # one large product instead of many small ones
        rows = x.type.size // x.shape[-1] if x.shape[-1] else 0
        if rows:
            product = apply(contractions.MatMul(), reshape(x, (rows, x.shape[-1])), y)
            return reshape(product, (*x.shape[:-1], y.shape[-1]))
    lead = broadcast_shapes("matmul", _leading(x), _leading(y))
    x, y = broadcast_to(x, (*lead, *x.shape[-2:])), broadcast_to(y, (*lead, *y.shape[-2:]))
    return apply(contractions.MatMul(), x, y)


def _leading(x: Node) -> Node:
    """A node whose shape is x's without the matrix axes, for the broadcasting rule and its error."""
    from .build_views import zeros

    return zeros(x.shape[:-2], x.dtype)


def dense(x: Operand, weight: Operand, bias: Operand | None = None) -> Node:
    """x @ weight.T + bias for x (..., in), weight (out, in), bias (out,)."""
    weight = as_node(weight)
    y = matmul(x, transpose(weight))
    return y if bias is None else add(y, bias)


def _pair(name: str, what: str, value: Pair) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(v, int) for v in pair):
        raise ArgumentError(
            f"{name}: {what} is one int or a pair",
            expected="int or (int, int)",
            given=value,
            at=current_source(),
        )
    return pair[0], pair[1]


def _margins(name: str, value: int | Sequence[int]) -> tuple[int, int, int, int]:
    margins = (value,) * 4 if isinstance(value, int) else tuple(value)
    if len(margins) == 2:  # (height, width)
        margins = (margins[0], margins[0], margins[1], margins[1])
    if len(margins) != 4:
        raise ArgumentError(
            f"{name}: padding is one int, (height, width) or (top, bottom, left, right)", expected="1, 2 or 4 ints",
            given=value, at=current_source(),
        )  # fmt: skip
    return margins  # type: ignore[return-value]


def conv2d(
    x: Operand,
    weight: Operand,
    bias: Operand | None = None,
    stride: Pair = 1,
    padding: int | Sequence[int] = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Node:
    """x (N, C, H, W) with weight (O, C/groups, KH, KW) and bias (O,) -> (N, O, OH, OW)."""
    x, weight = promoted(x, weight, floating=True)
    op = contractions.Conv2d(
        _pair("conv2d", "stride", stride),
        _margins("conv2d", padding),
        _pair("conv2d", "dilation", dilation),
        groups,
    )
    y = apply(op, x, weight)
    return y if bias is None else add(y, reshape(cast(bias, y.dtype), (1, y.shape[1], 1, 1)))


def max_pool2d(
    x: Operand, kernel_size: Pair, stride: Pair | None = None, padding: int | Sequence[int] = 0
) -> Node:
    """The largest element of every window of x (N, C, H, W); the stride is the window's size unless given."""
    window = _pair("max_pool2d", "kernel_size", kernel_size)
    strides = window if stride is None else _pair("max_pool2d", "stride", stride)
    return apply(windows.MaxPool2d(window, strides, _margins("max_pool2d", padding)), as_node(x))


def avg_pool2d(
    x: Operand,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: int | Sequence[int] = 0,
    count_include_pad: bool = True,
) -> Node:
    """The mean of every window of x (N, C, H, W); the stride is the window's size unless given."""
    window = _pair("avg_pool2d", "kernel_size", kernel_size)
    strides = window if stride is None else _pair("avg_pool2d", "stride", stride)
    (x,) = promoted(x, floating=True)
    return apply(windows.AvgPool2d(window, strides, _margins("avg_pool2d", padding), count_include_pad), x)


def softmax(x: Operand, axis: int = -1) -> Node:
    """exp(x) / sum(exp(x)) along `axis`."""
    (x,) = promoted(x, floating=True)
    return apply(losses.Softmax(normal_axis("softmax", axis, len(x.shape))), x)


def log_softmax(x: Operand, axis: int = -1) -> Node:
    """log(softmax(x)) along `axis`."""
    (x,) = promoted(x, floating=True)
    return apply(losses.LogSoftmax(normal_axis("log_softmax", axis, len(x.shape))), x)


# ---- losses ----------------------------------------------------------------------------------------------------


def _reduced(name: str, loss: Node, reduction: str) -> Node:
    if reduction == "none":
        return loss
    if reduction == "mean":
        return reduce_mean(loss)
    if reduction == "sum":
        return reduce_sum(loss)
    raise _reduction_error(name, reduction)


def _reduction_error(name: str, reduction: object) -> ArgumentError:
    return ArgumentError(
        f"{name}: unknown reduction",
        expected="'mean', 'sum' or 'none'",
        given=repr(reduction),
        at=current_source(),
    )


def mse_loss(predictions: Operand, targets: Operand, reduction: str = "mean") -> Node:
    """The squared difference, reduced ("mean", "sum" or "none"). `targets`: what is subtracted, of the
    same shape."""
    predictions, targets = together("mse_loss", predictions, targets, floating=True)
    return _reduced("mse_loss", square(sub(predictions, targets)), reduction)


def l1_loss(predictions: Operand, targets: Operand, reduction: str = "mean") -> Node:
    """The absolute difference, reduced ("mean", "sum" or "none"). `targets`: what is subtracted, of the
    same shape."""
    predictions, targets = together("l1_loss", predictions, targets, floating=True)
    return _reduced("l1_loss", abs(sub(predictions, targets)), reduction)


def softmax_cross_entropy_sparse(logits: Operand, labels: Operand, ignore_index: int | None = None) -> Node:
    """-log softmax(logits)[label] per sample: logits (N, C), integer labels (N,) -> (N,)."""
    (logits,) = promoted(logits, floating=True)
    return apply(losses.SoftmaxCrossEntropySparse(ignore_index), logits, as_node(labels))


def softmax_cross_entropy_dense(logits: Operand, probabilities: Operand) -> Node:
    """-sum(probabilities * log softmax(logits)) per sample: two (N, C) -> (N,)."""
    (logits,) = promoted(logits, floating=True)
    return apply(losses.SoftmaxCrossEntropyDense(), logits, cast(as_node(probabilities), logits.dtype))


def cross_entropy(
    logits: Operand,
    labels: Operand,
    weight: Operand | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Node:
    """Softmax cross entropy. logits: float (C,), (N, C) or (N, C, d1, ...).

    labels: class indices (integers, the logits' shape without C) or class probabilities (floats, the logits'
    shape). weight: one factor per class, (C,). With class indices, "mean" divides by the summed weight of the
    samples whose label is not `ignore_index`; with probabilities by N. Raises DTypeError or ShapeError for
    labels of neither form.
    """
    if reduction not in ("mean", "sum", "none"):
        raise _reduction_error("cross_entropy", reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError(
            "cross_entropy: label_smoothing out of range",
            expected="0 to 1",
            given=label_smoothing,
            at=current_source(),
        )
    (logits,) = promoted(logits, floating=True)
    labels = as_node(labels)
    rank = len(logits.shape)
    if rank == 0:
        raise ShapeError(
            "cross_entropy: logits need a class axis",
            expected="(N, C)",
            given=logits.type.describe(),
            at=current_source(),
        )
    class_axis = 0 if rank == 1 else 1
    classes = logits.shape[class_axis]
    sample_shape = logits.shape[:class_axis] + logits.shape[class_axis + 1 :]
    _check_labels(logits, labels, sample_shape)
    to_rows = [*(k for k in range(rank) if k != class_axis), class_axis]
    rows = reshape(transpose(logits, to_rows), (-1 if logits.type.size else 0, classes))
    if weight is not None:
        weight = cast(as_node(weight), logits.dtype)
        if weight.shape != (classes,):
            raise ShapeError(
                "cross_entropy: one weight per class", expected=f"{logits.dtype.name}[{classes}]",
                given=weight.type.describe(), at=current_source(),
            )  # fmt: skip
    if labels.dtype.is_float:
        targets = reshape(transpose(cast(labels, logits.dtype), to_rows), rows.shape)
        if label_smoothing:
            targets = add(mul(targets, 1.0 - label_smoothing), label_smoothing / classes)
        if weight is not None:
            targets = mul(targets, weight)
        loss = reshape(softmax_cross_entropy_dense(rows, targets), sample_shape)
        return (
            _mean_over_samples(loss, logits)
            if reduction == "mean"
            else _reduced("cross_entropy", loss, reduction)
        )
    loss, mass = _sparse_loss(rows, reshape(labels, (rows.shape[0],)), weight, ignore_index, label_smoothing)
    if reduction == "mean":
        return div(reduce_sum(loss), reduce_sum(mass))
    return reshape(loss, sample_shape) if reduction == "none" else reduce_sum(loss)


def _mean_over_samples(loss: Node, logits: Node) -> Node:
    """The sum divided by the number of samples."""
    return div(reduce_sum(loss), float(max(loss.type.size, 1))) if loss.shape else loss


def _sparse_loss(
    rows: Node, labels: Node, weight: Node | None, ignore_index: int, smoothing: float
) -> tuple[Node, Node]:
    """The loss and the weight of every sample, both (N,); zero for ignored samples."""
    classes = rows.shape[1]
    loss = softmax_cross_entropy_sparse(rows, labels, ignore_index)
    can_ignore = fits(ignore_index, labels.dtype)
    counted = not_equal(labels, ignore_index) if can_ignore else broadcast_to(as_node(True), labels.shape)
    mass = cast(counted, rows.dtype)
    if weight is not None:
        mass = mul(mass, gather(weight, labels))
        loss = mul(loss, gather(weight, labels))
    if smoothing:
        log_probability = log_softmax(rows, 1)
        spread = neg(reduce_sum(log_probability if weight is None else mul(log_probability, weight), (1,)))
        if can_ignore:
            spread = where(equal(labels, ignore_index), 0.0, spread)
        loss = add(mul(loss, 1.0 - smoothing), mul(spread, smoothing / classes))
    return loss, mass


def _check_labels(logits: Node, labels: Node, sample_shape: tuple[int, ...]) -> None:
    """Labels are integers of the sample shape, or floats of the logits' shape."""
    float_form = f"{logits.dtype.name}{list(logits.shape)}"
    index_form = f"int32{list(sample_shape)}"
    at = current_source()
    if labels.dtype.is_float and labels.shape == logits.shape:
        return
    if labels.dtype.is_integer and labels.shape == sample_shape:
        return
    if not labels.dtype.is_integer and labels.shape == sample_shape:
        raise DTypeError(
            "cross_entropy: class indices must be integers", expected=f"{index_form} (or class probabilities {float_form})",
            given=labels.type.describe(), fix="labels.astype(graphrt.int32)", at=at,
        )  # fmt: skip
    if not labels.dtype.is_float and labels.shape == logits.shape:
        raise DTypeError(
            "cross_entropy: class probabilities must be floats", expected=f"{float_form} (or class indices {index_form})",
            given=labels.type.describe(), fix=f"labels.astype(graphrt.{logits.dtype.name})", at=at,
        )  # fmt: skip
    raise ShapeError(
        f"cross_entropy: labels do not fit logits {logits.type.describe()}",
        expected=f"{index_form} class indices or {float_form} class probabilities",
        given=labels.type.describe(),
        at=at,
    )
