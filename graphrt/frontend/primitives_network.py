"""The operations of `graphrt.ops.operations` whose call differs from that of a function of `graphrt.ops`: products,
convolution, pooling, losses that return more than the loss, slicing with argument order of their own.

In: settings at construction, Tensors at the call. Out: Tensors, or tuples of them where the docstring says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, TraceError
from . import functional as base
from . import functional_arrays as arrays
from . import functional_linear as linear
from . import functional_losses as losses
from .gradient import grad
from .location import user_source
from .padding import window_padding
from .primitives import Primitive
from .tensor import Tensor
from .trace import current_trace

Window = int | Sequence[int]


class MatMul(Primitive):
    """The product of two matrices, either transposed first if asked. `transpose_a`, `transpose_b`: whether
    the last two axes of an operand are exchanged first."""

    def __init__(self, transpose_a: bool = False, transpose_b: bool = False):
        super().__init__(transpose_a=transpose_a, transpose_b=transpose_b)

    def __call__(self, x: Any, y: Any) -> Any:
        if self.settings["transpose_a"]:
            x = base.swapaxes(x, -1, -2)
        if self.settings["transpose_b"]:
            y = base.swapaxes(y, -1, -2)
        return base.matmul(x, y)


class BatchMatMul(MatMul):
    """`MatMul` over leading axes."""


def _nchw(name: str, data_format: str) -> None:
    if data_format != "NCHW":
        raise ArgumentError(
            f"{name}: images are (N, C, H, W)", at=user_source(), expected="'NCHW'", given=repr(data_format)
        )


def _pair(window: Window) -> tuple[int, int]:
    """A window as (height, width); MindSpore also takes (1, 1, height, width)."""
    if isinstance(window, int):
        return window, window
    return tuple(window)[-2:]  # type: ignore[return-value]


class Conv2D(Primitive):
    """`Conv2D(out_channel, kernel_size, mode=1, pad_mode="valid", pad=0, stride=1, dilation=1, group=1)(x, weight)`: x
    (N, C, H, W), weight (out_channel, C / group, height, width). `data_format`: "NCHW"."""

    def __init__(
        self, out_channel: int, kernel_size: Window, mode: int = 1, pad_mode: str = "valid", pad: Any = 0,
        stride: Window = 1, dilation: Window = 1, group: int = 1, data_format: str = "NCHW",
    ):  # fmt: skip
        _nchw("Conv2D", data_format)
        super().__init__(
            out_channel=out_channel, kernel_size=_pair(kernel_size), mode=mode, pad_mode=pad_mode, pad=pad,
            stride=_pair(stride), dilation=_pair(dilation), group=group,
        )  # fmt: skip

    def __call__(self, x: Any, weight: Any) -> Any:
        s = self.settings
        shape = (s["out_channel"], x.shape[1] // s["group"], *s["kernel_size"])
        if tuple(weight.shape) != shape:
            raise ArgumentError(
                "Conv2D: the weight has another shape than the settings say", at=user_source(),
                expected=list(shape), given=list(weight.shape),
            )  # fmt: skip
        return base.conv2d(x, weight, None, s["stride"], s["pad_mode"], s["pad"], s["dilation"], s["group"])


class _Pool(Primitive):
    def __init__(
        self, kernel_size: Window = 1, strides: Window = 1, pad_mode: str = "valid", data_format: str = "NCHW",
        *, ksize: Window | None = None, padding: str | None = None,
    ):  # fmt: skip
        _nchw(type(self).__name__, data_format)
        super().__init__(
            kernel_size=_pair(kernel_size if ksize is None else ksize), strides=_pair(strides),
            pad_mode=pad_mode if padding is None else padding,
        )  # fmt: skip

    def _sides(self, x: Any) -> tuple[int, int, int, int]:
        s = self.settings
        return window_padding(self.name, s["pad_mode"], 0, x.shape[2:], s["kernel_size"], s["strides"])


class MaxPool(_Pool):
    """`MaxPool(kernel_size=1, strides=1, pad_mode="valid")(x)`: the largest element of every window of (N, C, H, W).
    The first release's names ksize and padding work too. `data_format`: "NCHW"."""

    def __call__(self, x: Any) -> Any:
        return base.max_pool2d(x, self.settings["kernel_size"], self.settings["strides"], self._sides(x))


class AvgPool(_Pool):
    """`AvgPool(kernel_size=1, strides=1, pad_mode="valid")(x)`: the mean of every window, without padding.
    `data_format`: "NCHW". The first release's names `ksize` and `padding` work too."""

    def __call__(self, x: Any) -> Any:
        sides = self._sides(x)
        return base.avg_pool2d(x, self.settings["kernel_size"], self.settings["strides"], sides, False)


class LayerNorm(Primitive):
    """`LayerNorm(begin_norm_axis=1, begin_params_axis=1, epsilon=1e-7)(x, gamma, beta)`: (normalized, mean, variance),
    the last two with the normalized axes kept as 1."""

    def __init__(self, begin_norm_axis: int = 1, begin_params_axis: int = 1, epsilon: float = 1e-7):
        super().__init__(
            begin_norm_axis=begin_norm_axis, begin_params_axis=begin_params_axis, epsilon=epsilon
        )

    def __call__(self, x: Any, gamma: Any, beta: Any) -> tuple[Tensor, Tensor, Tensor]:
        s = self.settings
        axes = tuple(range(s["begin_norm_axis"] % x.ndim, x.ndim))
        result = base.layer_norm(x, gamma, beta, s["begin_norm_axis"], s["begin_params_axis"], s["epsilon"])
        return result, base.reduce_mean(x, axes, True), base.var(x, axes, 0, True)


class BatchNorm(Primitive):
    """`BatchNorm(is_training=False, epsilon=1e-5, momentum=0.1)(x, scale, bias, mean, variance)`: (normalized, mean,
    variance, mean, variance) of x (N, C, ...), the other operands (C,). With `is_training` the statistics are those of
    the batch, and `mean` and `variance`, if Parameters, move towards them by `momentum`; otherwise the given ones.
    `data_format`: "NCHW"."""

    def __init__(
        self,
        is_training: bool = False,
        epsilon: float = 1e-5,
        momentum: float = 0.1,
        data_format: str = "NCHW",
    ):
        _nchw("BatchNorm", data_format)
        super().__init__(is_training=is_training, epsilon=epsilon, momentum=momentum)

    def __call__(self, input_x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> tuple[Any, ...]:
        s = self.settings
        result = base.batch_norm(
            input_x, mean, variance, scale, bias, s["is_training"], s["momentum"], s["epsilon"]
        )
        used = base.batch_statistics(input_x) if s["is_training"] else (mean, variance)
        return (result, *used, *used)


class Einsum(Primitive):
    """`Einsum(equation)((x, y, ...))`: see `ops.einsum`."""

    def __init__(self, equation: str):
        super().__init__(equation=equation)

    def __call__(self, operands: Sequence[Any]) -> Any:
        return linear.einsum(self.settings["equation"], *operands)


class Dropout(Primitive):
    """`Dropout(keep_prob=0.5)(x)`: (x with elements set to zero and the others divided by keep_prob, mask of ones and
    zeros). `Seed0` and `Seed1` are accepted; `set_seed` decides."""

    def __init__(self, keep_prob: float = 0.5, Seed0: int = 0, Seed1: int = 0):
        super().__init__(keep_prob=keep_prob)

    def __call__(self, x: Any) -> tuple[Tensor, Tensor]:
        scaled = base.dropout(base.ones_like(x), 1.0 - self.settings["keep_prob"])
        return base.mul(x, scaled), base.cast(base.greater(scaled, 0), x.dtype)


# ---------------------------------------------------------------------------------------------------- losses


class SoftmaxCrossEntropyWithLogits(Primitive):
    """logits and class probabilities, (N, C) each -> (loss (N,), its gradient with respect to the logits (N, C))."""

    def __call__(self, logits: Any, labels: Any) -> tuple[Tensor, Tensor]:
        loss = base.softmax_cross_entropy_dense(logits, labels)
        return loss, grad(base.softmax_cross_entropy_dense)(logits, labels)


class SparseSoftmaxCrossEntropyWithLogits(Primitive):
    """logits (N, C) and class indices (N,) -> the mean loss; with `is_grad` its gradient with respect to the logits."""

    def __init__(self, is_grad: bool = False):
        super().__init__(is_grad=is_grad)

    def __call__(self, logits: Any, labels: Any) -> Tensor:
        if self.settings["is_grad"]:
            return grad(base.cross_entropy)(logits, labels)
        return base.cross_entropy(logits, labels)


class SigmoidCrossEntropyWithLogits(Primitive):
    """Binary cross entropy of sigmoid(logits) and labels, per element."""

    def __call__(self, logits: Any, label: Any) -> Tensor:
        return losses.binary_cross_entropy_with_logits(logits, label, reduction="none")


class NLLLoss(Primitive):
    """`NLLLoss(reduction="mean")(log_probabilities, labels, weight)`: (loss, summed weight of the labels)."""

    def __init__(self, reduction: str = "mean", ignore_index: int = -100):
        super().__init__(reduction=reduction, ignore_index=ignore_index)

    def __call__(self, logits: Any, labels: Any, weight: Any) -> tuple[Tensor, Tensor]:
        counted = base.not_equal(labels, self.settings["ignore_index"])
        mass = base.reduce_sum(base.where(counted, base.gather(weight, labels), 0.0))
        return losses.nll_loss(logits, labels, weight, **_swapped(self.settings)), mass


def _swapped(settings: dict[str, Any]) -> dict[str, Any]:
    return {"ignore_index": settings["ignore_index"], "reduction": settings["reduction"]}


class L2Loss(Primitive):
    """sum(x^2) / 2."""

    def __call__(self, x: Any) -> Tensor:
        return base.mul(base.reduce_sum(base.square(x)), 0.5)


# ------------------------------------------------------------------------------------- reductions, positions


class Reduction(Primitive):
    """`ReduceSum(keep_dims=False)(x, axis=())`: over `axis`; () means all axes."""

    function: Any = None

    def __init__(self, keep_dims: bool = False):
        super().__init__(keep_dims=keep_dims)

    def __call__(self, x: Any, axis: Any = ()) -> Any:
        return type(self).function(x, None if axis == () else axis, self.settings["keep_dims"])


def reduction(name: str, function: Any) -> type[Reduction]:
    """The class of one reduction."""
    doc = f"`{name}(keep_dims=False)(x, axis=())`: over `axis`; () means all axes."
    return type(
        name, (Reduction,), {"function": staticmethod(function), "__doc__": doc, "__module__": __name__}
    )


class Argmax(Primitive):
    """The position of the largest element along `axis`. `output_type`: the integer type of the position."""

    def __init__(self, axis: int = -1, output_type: Any = "int32"):
        super().__init__(axis=axis, output_type=output_type)

    def __call__(self, x: Any) -> Any:
        return base.cast(base.argmax(x, self.settings["axis"]), self.settings["output_type"])


class Argmin(Argmax):
    """The position of the smallest element along `axis`. `output_type`: the integer type of the position."""

    def __call__(self, x: Any) -> Any:
        return base.cast(base.argmin(x, self.settings["axis"]), self.settings["output_type"])


class ArgMaxWithValue(Primitive):
    """`ArgMaxWithValue(axis=0, keep_dims=False)(x)`: (position, value) of the largest element along `axis`."""

    def __init__(self, axis: int = 0, keep_dims: bool = False):
        super().__init__(axis=axis, keep_dims=keep_dims)

    def __call__(self, x: Any) -> tuple[Tensor, Tensor]:
        axis, keep = self.settings["axis"], self.settings["keep_dims"]
        return base.argmax(x, axis, keep), base.amax(x, axis, keep)


class ArgMinWithValue(ArgMaxWithValue):
    """`ArgMinWithValue(axis=0, keep_dims=False)(x)`: (position, value) of the smallest element along `axis`."""

    def __call__(self, x: Any) -> tuple[Tensor, Tensor]:
        axis, keep = self.settings["axis"], self.settings["keep_dims"]
        return base.argmin(x, axis, keep), base.amin(x, axis, keep)


class CumSum(Primitive):
    """`CumSum(exclusive=False, reverse=False)(x, axis)`: running sums; `exclusive` leaves each element out of its own,
    `reverse` runs from the end."""

    def __init__(self, exclusive: bool = False, reverse: bool = False):
        super().__init__(exclusive=exclusive, reverse=reverse)

    def __call__(self, x: Any, axis: int) -> Tensor:
        reverse = self.settings["reverse"]
        total = arrays.cumsum(base.flip(x, axis) if reverse else x, axis)
        total = base.flip(total, axis) if reverse else total
        return base.sub(total, x) if self.settings["exclusive"] else total


# --------------------------------------------------------------------------------------- indexing, making


class OneHot(Primitive):
    """`OneHot(axis=-1)(indices, depth, on_value, off_value)`."""

    def __init__(self, axis: int = -1):
        super().__init__(axis=axis)

    def __call__(self, indices: Any, depth: int, on_value: Any, off_value: Any) -> Any:
        dtype = on_value.dtype if hasattr(on_value, "dtype") else "float32"
        return base.one_hot(indices, depth, on_value, off_value, self.settings["axis"], dtype)


class Split(Primitive):
    """`Split(axis=0, output_num=1)(x)`: `output_num` pieces of equal extent."""

    def __init__(self, axis: int = 0, output_num: int = 1):
        super().__init__(axis=axis, output_num=output_num)

    def __call__(self, x: Any) -> tuple[Tensor, ...]:
        axis, count = self.settings["axis"], self.settings["output_num"]
        if count < 1 or x.shape[axis] % count:
            raise ArgumentError(
                "Split: the axis must divide into output_num pieces", at=user_source(),
                expected=f"a divisor of {x.shape[axis]}", given=count,
            )  # fmt: skip
        return base.split(x, x.shape[axis] // count, axis)


class Slice(Primitive):
    """`Slice()(x, begin, size)`: size[k] elements from begin[k] on along each axis; -1 means all that follow."""

    def __call__(self, x: Any, begin: Sequence[int], size: Sequence[int]) -> Tensor:
        bounds = zip(begin, size, x.shape)
        return base.getitem(x, tuple(slice(b, extent if s == -1 else b + s) for b, s, extent in bounds))


class StridedSlice(Primitive):
    """`StridedSlice()(x, begin, end, strides)`: x[begin:end:strides] as NumPy means it. Masks are not
    supported. `begin_mask`, `end_mask`, `ellipsis_mask`, `new_axis_mask` and `shrink_axis_mask` must be 0."""

    def __init__(
        self, begin_mask: int = 0, end_mask: int = 0, ellipsis_mask: int = 0, new_axis_mask: int = 0,
        shrink_axis_mask: int = 0,
    ):  # fmt: skip
        if begin_mask or end_mask or ellipsis_mask or new_axis_mask or shrink_axis_mask:
            raise ArgumentError(
                "StridedSlice: masks are not supported", at=user_source(), expected="masks of 0",
                fix="index the tensor: x[:, 1:3, None]",
            )  # fmt: skip
        super().__init__()

    def __call__(self, x: Any, begin: Sequence[int], end: Sequence[int], strides: Sequence[int]) -> Tensor:
        return arrays.strided_slice(x, begin, end, strides)


class Pad(Primitive):
    """`Pad(paddings)(x)`: zeros around x; one (before, after) pair per axis."""

    def __init__(self, paddings: Sequence[Sequence[int]]):
        super().__init__(paddings=tuple(tuple(pair) for pair in paddings))

    def __call__(self, x: Any) -> Tensor:
        return base.pad(x, self.settings["paddings"])


class ReverseV2(Primitive):
    """`ReverseV2(axis)(x)`: the order of elements turned around along the axes."""

    def __init__(self, axis: Any):
        super().__init__(axis=axis)

    def __call__(self, x: Any) -> Tensor:
        return base.flip(x, self.settings["axis"])


class TopK(Primitive):
    """`TopK(sorted=True)(x, k)`: (values, positions) of the k largest elements along the last axis."""

    def __init__(self, sorted: bool = True):
        super().__init__(sorted=sorted)

    def __call__(self, input_x: Any, k: int) -> tuple[Tensor, Tensor]:
        return arrays.topk(input_x, k)


class EmbeddingLookup(Primitive):
    """`EmbeddingLookup()(table, indices, offset)`: rows indices - offset of the table."""

    def __call__(self, input_params: Any, input_indices: Any, offset: int = 0) -> Tensor:
        return base.gather(input_params, base.sub(input_indices, offset) if offset else input_indices, 0)


class Print(Primitive):
    """Prints its arguments when called eagerly. Inside a trace it is an error: values are not known there."""

    def __call__(self, *args: Any) -> None:
        if current_trace() is not None:
            raise TraceError(
                "Print: values are not known while the graph is built", at=user_source(),
                fix="return the tensor from the function and print the result, or call without @compile to debug",
            )  # fmt: skip
        print(*args, sep="\n")
