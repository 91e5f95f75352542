"""Matrix products and convolutions in all directions, native against the reference, over awkward extents.

Operands are small whole numbers, so the sums are exact in every order and element type and are compared bit for bit.
"""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from differential import mismatch

from graphrt.dtypes import DType, as_dtype, bfloat16, float32, float64, int32
from graphrt.errors import ShapeError
from graphrt.ir import Graph, Node, Op, TensorType, apply, input_node
from graphrt.ops import build
from graphrt.ops.contractions import Conv2d, Conv2dBackwardInput, Conv2dBackwardWeight, MatMul
from graphrt.passes.explicit_padding import explicit_padding

EXTENTS = (1, 2, 7, 15, 16, 17, 33)
DTYPES = (float32, float64, int32)


def whole_numbers(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {n.op.label: generator.integers(-4, 5, n.shape).astype(n.dtype.numpy) for n in graph.inputs}


def tensors(*shapes: tuple[int, ...], dtype: DType = float32) -> list[Node]:
    return [input_node(f"x{k}", TensorType(shape, dtype)) for k, shape in enumerate(shapes)]


def assert_native(graph: Graph, *, threads: int = 1, **options: object) -> None:
    reason = mismatch(graph, whole_numbers(graph), exact=True, threads=threads, poison=True, **options)
    assert reason is None, f"{reason}\n{graph}"


def contraction(op: Op, *shapes: tuple[int, ...], dtype: DType = float32) -> Graph:
    inputs = tensors(*shapes, dtype=dtype)
    return Graph(tuple(inputs), (apply(op, *inputs),), {}, "contraction")


# ---- matrix products -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", EXTENTS)
def test_matrix_products(rows: int) -> None:
    """Several products per graph: compiling is what takes time."""
    for inner in (1, 3, 16, 31):
        inputs, outputs = [], []
        for k, columns in enumerate(EXTENTS):
            x = input_node(f"x{k}", TensorType((rows, inner), float32))
            y = input_node(f"y{k}", TensorType((inner, columns), float32))
            inputs += [x, y]
            outputs.append(apply(MatMul(), x, y))
        assert_native(Graph(tuple(inputs), tuple(outputs), {}, "products"))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "shapes", [((17, 33), (33, 15)), ((3, 5, 7), (3, 7, 18)), ((2, 3, 17, 4), (2, 3, 4, 9)), ((64, 47), (47, 33))], ids=str
)  # fmt: skip
def test_element_types_and_batches(shapes: tuple[tuple[int, ...], ...], dtype: DType) -> None:
    assert_native(contraction(MatMul(), *shapes, dtype=dtype))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int64", "uint8", "int16"])
def test_other_element_types(dtype: str) -> None:
    x, y = tensors((9, 5), (5, 18), dtype=as_dtype(dtype))
    graph = Graph((x, y), (apply(MatMul(), x, y),), {}, "product")
    assert_native(graph)


@pytest.mark.parametrize(("left", "right"), list(itertools.product((False, True), repeat=2)))
def test_transposed_operands_and_results(left: bool, right: bool) -> None:
    shapes = ((19, 37) if left else (37, 19)), ((41, 19) if right else (19, 41))
    x, y = tensors(*shapes)
    product = apply(MatMul(), build.transpose(x) if left else x, build.transpose(y) if right else y)
    assert_native(Graph((x, y), (product, build.transpose(product)), {}, "transposed"))
    assert_native(Graph((x, y), (build.transpose(product),), {}, "transposed"))


def test_products_without_terms_are_zero() -> None:
    assert_native(contraction(MatMul(), (3, 0), (0, 5)))


def test_products_without_elements() -> None:
    assert_native(contraction(MatMul(), (0, 4), (4, 5)))


@pytest.mark.parametrize("threads", [2, 3])
def test_products_large_enough_for_threads(threads: int) -> None:
    assert_native(contraction(MatMul(), (67, 45), (45, 51)), threads=threads)


# ---- convolutions ----------------------------------------------------------------------------------------------


def random_convolution(seed: int) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, object]]:
    """Image shape, weight shape and attributes of a convolution that fits."""
    choose = random.Random(seed)
    while True:
        groups = choose.choice((1, 1, 1, 2, 3))
        channels, out_channels = groups * choose.choice((1, 2, 5)), groups * choose.choice((1, 3, 6, 16))
        kernel = choose.choice(((1, 1), (2, 3), (3, 3), (5, 5), (1, 4)))
        attributes = {
            "stride": choose.choice(((1, 1), (1, 1), (2, 2), (1, 3), (2, 1))),
            "padding": choose.choice(((0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2), (0, 1, 2, 3), (4, 0, 0, 3))),
            "dilation": choose.choice(((1, 1), (1, 1), (2, 1), (1, 3))),
            "groups": groups,
        }
        image = (
            choose.choice((1, 2, 5, 16, 17, 40)), channels, choose.choice((1, 4, 7, 12, 17)), choose.choice((1, 5, 8, 14))
        )  # fmt: skip
        weight = (out_channels, channels // groups, *kernel)
        try:
            Conv2d(**attributes).infer(TensorType(image, float32), TensorType(weight, float32))
        except ShapeError:
            continue
        return image, weight, attributes


def directions(seed: int, dtype: DType) -> Graph:
    """A convolution with both its gradients as outputs."""
    image, weight, attributes = random_convolution(seed)
    x, w = tensors(image, weight, dtype=dtype)
    y = apply(Conv2d(**attributes), x, w)
    dy = input_node("dy", y.type)
    outputs = (
        y,
        apply(Conv2dBackwardInput(image, **attributes), dy, w),
        apply(Conv2dBackwardWeight(weight, **attributes), x, dy),
    )
    return Graph((x, w, dy), outputs, {}, f"convolution{seed}")


@pytest.mark.parametrize("seed", range(60))
def test_convolutions_in_all_directions(seed: int) -> None:
    assert_native(directions(seed, DTYPES[seed % 2]), threads=1 + seed % 3)


@pytest.mark.parametrize("seed", range(100, 116))
def test_convolutions_that_test_their_edges(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With padding left to the contraction: every direction, strided backward-data included, visits real taps only."""
    monkeypatch.setattr("graphrt.passes.pipeline.explicit_padding", lambda graph, whole_row: graph)
    assert_native(directions(seed, float32))


@pytest.mark.parametrize("batch", [*range(1, 9), 15, 16, 17, 31, 32, 33, 37, 40])
def test_small_images_with_large_kernels_at_every_batch(batch: int) -> None:
    """Backward-data of such images stays a contraction over real taps."""
    dy, w = tensors((batch, 6, 8, 8), (6, 3, 5, 5))
    graph = Graph((dy, w), (apply(Conv2dBackwardInput((batch, 3, 12, 12)), dy, w),), {}, "taps")
    assert {n.op.name for n in explicit_padding(graph, whole_row=16).nodes()} == {
        "input",
        "conv2d_backward_input",
    }
    assert_native(graph)


@pytest.mark.parametrize("batch", [48, 32, 37])
@pytest.mark.parametrize(
    ("image", "weight", "attributes"),
    [
        ((9, 30, 31), (10, 9, 3, 3), {"padding": (1, 1, 1, 1)}),
        ((7, 33, 34), (6, 7, 5, 2), {"padding": (2, 0, 3, 1), "stride": (2, 1)}),
        ((8, 40, 21), (12, 4, 1, 1), {"groups": 2, "stride": (1, 2)}),
        ((5, 28, 40), (7, 5, 3, 3), {"dilation": (2, 1), "padding": (5, 5, 0, 0)}),
    ],
)
def test_large_weight_gradients_go_block_by_block(batch, image, weight, attributes) -> None:
    """Operands beyond the cache: sums per lane of samples, in memory between blocks; whole or odd batches."""
    x, w = tensors((batch, *image), weight)
    dy = input_node("dy", apply(Conv2d(**attributes), x, w).type)
    graph = Graph((x, dy), (apply(Conv2dBackwardWeight(weight, **attributes), x, dy),), {}, "large")
    assert_native(graph, threads=2)


@pytest.mark.parametrize("threads", [1, 2])
def test_large_epilogues_are_fetched_ahead(threads: int) -> None:
    """Hints name addresses inside the buffers only in effect: the results must not depend on them."""
    x, w, residual = tensors((40, 9, 30, 30), (10, 9, 3, 3), (40, 10, 30, 30))
    y = build.relu(build.add(apply(Conv2d(padding=(1, 1, 1, 1)), x, w), residual))
    graph = Graph((x, w, residual), (y, build.reduce_sum(y, (0,))), {}, "epilogue")
    assert_native(graph, threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_products_of_pairs(threads: int) -> None:
    """bfloat16 products as the instruction for pairs computes them: whole numbers are exact in either."""
    outputs, inputs = [], []
    for k, (rows, terms, columns) in enumerate(((64, 101, 33), (17, 8, 16), (40, 96, 200))):
        x = input_node(f"x{k}", TensorType((rows, terms), float32))
        w = input_node(f"w{k}", TensorType((columns, terms), float32))
        half_x, half_w = (build.cast(t, bfloat16) for t in (x, w))
        y = build.matmul(half_x, build.transpose(half_w))
        gradient = build.matmul(build.transpose(half_x), y)  # terms along the samples
        inputs += [x, w]
        outputs += [build.cast(y, float32), build.cast(gradient, float32)]
    assert_native(Graph(tuple(inputs), tuple(outputs), {}, "pairs"), threads=threads)


@pytest.mark.parametrize("step", [2, 3, 4, 5])
def test_reading_every_second_element(step: int) -> None:
    """Short strides are picked from whole vectors, also at the end of a buffer and behind an in-place update."""
    x = input_node("x", TensorType((7, 16 * step + 1), float32))
    state = input_node("s", TensorType((48 * step,), float32), "state")
    parts = [build.getitem(x, (slice(None), slice(k, None, step))) for k in range(step)]
    shifted = build.getitem(state, slice(1, None, step))
    moved = build.add(state, build.broadcast_to(build.reduce_sum(shifted, (0,)), state.shape))
    graph = Graph((x, state), (*[build.neg(p) for p in parts], build.neg(shifted)), {state: moved}, "strides")
    assert_native(graph)


def test_depthwise_convolution() -> None:
    x, w = tensors((3, 18, 9, 9), (18, 1, 3, 3))
    graph = Graph((x, w), (apply(Conv2d(padding=(1, 1, 1, 1), groups=18), x, w),), {}, "depthwise")
    assert_native(graph)


def test_results_keep_their_sign_and_their_infinities() -> None:
    """Padding contributes nothing, not 0 * infinity."""
    x, w = tensors((1, 1, 3, 3), (1, 1, 3, 3))
    graph = Graph((x, w), (apply(Conv2d(padding=(1, 1, 1, 1)), x, w),), {}, "infinite")
    values = {"x0": np.full((1, 1, 3, 3), np.inf, np.float32), "x1": np.ones((1, 1, 3, 3), np.float32)}
    assert mismatch(graph, values, exact=True) is None
