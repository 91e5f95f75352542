"""Emitters of matrix products, convolutions, pooling, normalization, softmax and losses, with the patterns ONNX has one node for:
x @ W^T + b is a Gemm, a convolution plus a value per channel is a Conv with bias."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..dtypes import int64
from .emitters import emitter, operands, same_name
from .symbolic import SymbolicNode, is_static
from .writer import Writer, tensor_type


def _pads(padding: Sequence[int]) -> list[int]:
    """graphrt's (top, bottom, left, right) in ONNX's order: all beginnings, then all ends."""
    top, bottom, left, right = padding
    return [top, left, bottom, right]


# ---- patterns --------------------------------------------------------------------------------------------------


def vector_along(node: SymbolicNode, axis: int) -> SymbolicNode | None:
    """The value that `node` repeats along every axis but `axis`, possibly with axes of extent 1, or None."""
    if node.name != "broadcast":
        return None
    source, extent = node.inputs[0], node.shape[axis]
    places = dict(zip(node.static("axes"), source.shape))
    if not is_static(extent) or places.get(axis) != extent:
        return None
    if any(size != 1 for place, size in places.items() if place != axis):
        return None
    is_reshaped_vector = source.name == "reshape" and source.inputs[0].shape == (extent,)
    return source.inputs[0] if is_reshaped_vector else source


def product_and_bias(
    writer: Writer, node: SymbolicNode, producer: str, axis: int
) -> tuple[SymbolicNode, SymbolicNode] | None:
    """(product, bias) if `node` adds a vector along `axis` to a `producer` node that nothing else reads."""
    for product, addend in (node.inputs, node.inputs[::-1]):
        if (
            product.name == producer
            and len(writer.users[product]) == 1
            and product not in writer.graph.outputs
        ):
            bias = vector_along(addend, axis)
            if bias is not None:
                return product, bias
    return None


@emitter("add")
def _add(writer: Writer, node: SymbolicNode) -> str:
    if node.rank == 4 and node.dtype.is_float:
        found = product_and_bias(writer, node, "conv2d", 1)
        if found:
            return _convolution(writer, found[0], found[1])
    if node.rank == 2 and node.dtype.is_float:
        found = product_and_bias(writer, node, "mat_mul", 1)
        if found:
            return _gemm(writer, found[0], found[1])
    return same_name(writer, node)


def _flat(writer: Writer, bias: SymbolicNode) -> str:
    return writer.reshape(writer.value(bias), bias.shape, (math.prod(bias.extents()),))


# ---- contractions ----------------------------------------------------------------------------------------------


def _gemm(writer: Writer, product: SymbolicNode, bias: SymbolicNode | None) -> str:
    """Gemm reads a transposed matrix in place, so that weights stay (out, in) as the network holds them."""
    names, flags = [], []
    for operand in product.inputs:
        transposed = operand.name == "transpose"
        names.append(writer.value(operand.inputs[0] if transposed else operand))
        flags.append(int(transposed))
    if bias is not None:
        names.append(_flat(writer, bias))
    return writer.emit("Gemm", *names, transA=flags[0], transB=flags[1])


@emitter("mat_mul")
def _matmul(writer: Writer, node: SymbolicNode) -> str:
    if node.rank == 2 and node.dtype.is_float and any(x.name == "transpose" for x in node.inputs):
        return _gemm(writer, node, None)
    return writer.emit("MatMul", *operands(writer, node, own_axes=2))


def _convolution(writer: Writer, node: SymbolicNode, bias: SymbolicNode | None) -> str:
    image, weight = node.inputs
    inputs = [writer.value(image), writer.value(weight)] + ([_flat(writer, bias)] if bias is not None else [])
    return writer.emit("Conv", *inputs, **_convolution_attributes(node, weight.extents(2)))


def _convolution_attributes(node: SymbolicNode, kernel: Sequence[int]) -> dict[str, Any]:
    if not node.dtype.is_float:
        raise node.error("export: ONNX convolves floats only", given=node.dtype, fix="cast to float32 first")
    return {
        "kernel_shape": list(kernel),
        "strides": list(node.static("stride")),
        "pads": _pads(node.static("padding")),
        "dilations": list(node.static("dilation")),
        "group": node.static("groups"),
    }


@emitter("conv2d")
def _conv2d(writer: Writer, node: SymbolicNode) -> str:
    return _convolution(writer, node, None)


@emitter("conv2d_backward_input")
def _conv2d_backward_input(writer: Writer, node: SymbolicNode) -> str:
    gradient, weight = node.inputs
    attributes = _convolution_attributes(node, weight.extents(2))
    # what the strides did not reach of the image comes back as zeros at the bottom and right
    missing = []
    for axis, (image, kernel, output) in enumerate(
        zip(node.extents(2), weight.extents(2), gradient.extents(2))
    ):
        reach = (kernel - 1) * attributes["dilations"][axis] + 1
        covered = (output - 1) * attributes["strides"][axis] + reach
        missing.append(image + attributes["pads"][axis] + attributes["pads"][2 + axis] - covered)
    return writer.emit(
        "ConvTranspose", writer.value(gradient), writer.value(weight), **attributes, output_padding=missing
    )


@emitter("conv2d_backward_weight")
def _conv2d_backward_weight(writer: Writer, node: SymbolicNode) -> str:
    """A convolution of the image by the gradient, with samples and channels exchanged."""
    image, gradient = node.inputs
    if node.static("groups") != 1:
        raise node.error("export: the weight gradient of a grouped convolution has no ONNX form")
    attributes = _convolution_attributes(node, gradient.extents(2))
    attributes["strides"], attributes["dilations"] = attributes["dilations"], attributes["strides"]
    exchanged = [writer.emit("Transpose", writer.value(x), perm=[1, 0, 2, 3]) for x in (image, gradient)]
    found = writer.emit("Conv", *exchanged, **attributes)
    found = writer.emit("Transpose", found, perm=[1, 0, 2, 3])
    # rows and columns that the stride left over would be taps beyond the kernel
    kernel = node.extents(2)
    bounds = [writer.integers(*values) for values in ((0, 0), kernel, (2, 3))]
    return writer.emit("Slice", found, *bounds)


# ---- pooling ---------------------------------------------------------------------------------------------------


def _window_attributes(node: SymbolicNode) -> dict[str, Any]:
    return {
        "kernel_shape": list(node.static("window")),
        "strides": list(node.static("strides")),
        "pads": _pads(node.static("padding")),
    }


@emitter("max_pool2d")
def _max_pool(writer: Writer, node: SymbolicNode) -> str:
    return writer.emit("MaxPool", writer.value(node.inputs[0]), **_window_attributes(node))


@emitter("avg_pool2d")
def _avg_pool(writer: Writer, node: SymbolicNode) -> str:
    return writer.emit(
        "AveragePool",
        writer.value(node.inputs[0]),
        **_window_attributes(node),
        count_include_pad=int(node.static("count_include_pad")),
    )


# ---- softmax and losses ----------------------------------------------------------------------------------------


@emitter("softmax", "log_softmax")
def _softmax(writer: Writer, node: SymbolicNode) -> str:
    operator = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}[node.name]
    return writer.emit(operator, writer.value(node.inputs[0]), axis=node.static("axis"))


@emitter("softmax_cross_entropy_sparse")
def _sparse_cross_entropy(writer: Writer, node: SymbolicNode) -> str:
    logits, labels = node.inputs
    name = writer.value(labels)
    if labels.dtype.name not in ("int32", "int64"):
        name = writer.emit("Cast", name, to=tensor_type(int64))
    ignored = node.static("ignore_index")
    attributes = {} if ignored is None else {"ignore_index": ignored}
    return writer.emit("SoftmaxCrossEntropyLoss", writer.value(logits), name, reduction="none", **attributes)


@emitter("softmax_cross_entropy_dense")
def _dense_cross_entropy(writer: Writer, node: SymbolicNode) -> str:
    logits, probabilities = map(writer.value, node.inputs)
    products = writer.emit("Mul", writer.emit("LogSoftmax", logits, axis=-1), probabilities)
    return writer.emit("Neg", writer.emit("ReduceSum", products, writer.integers(-1), keepdims=0))


# ---- normalization and activations -----------------------------------------------------------------------------


@emitter("batch_norm_inference")
def _batch_norm(writer: Writer, node: SymbolicNode) -> str:
    return writer.emit(
        "BatchNormalization", *(writer.value(x) for x in node.inputs), epsilon=node.static("epsilon")
    )


@emitter("layer_norm")
def _layer_norm(writer: Writer, node: SymbolicNode) -> str:
    return writer.emit(
        "LayerNormalization",
        *(writer.value(x) for x in node.inputs),
        axis=node.static("axis"),
        epsilon=node.static("epsilon"),
    )


@emitter("gelu")
def _gelu(writer: Writer, node: SymbolicNode) -> str:
    """One node since opset 20, the formula before."""
    x = writer.value(node.inputs[0])
    approximate = node.static("approximate")
    if writer.opset >= 20:
        return writer.emit("Gelu", x, approximate=approximate)

    def number(value: float) -> str:
        return writer.constant(value, node.dtype.numpy)

    if approximate == "tanh":
        cube = writer.emit("Mul", writer.emit("Mul", x, x), writer.emit("Mul", x, number(0.044715)))
        inner = writer.emit("Mul", writer.emit("Add", x, cube), number(math.sqrt(2 / math.pi)))
        weight = writer.emit("Tanh", inner)
    else:
        weight = writer.emit("Erf", writer.emit("Mul", x, number(math.sqrt(0.5))))
    return writer.emit("Mul", writer.emit("Mul", x, number(0.5)), writer.emit("Add", weight, number(1)))
