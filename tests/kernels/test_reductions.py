"""Reductions over every combination of axes, element types and extents around the vector width, native against the
reference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from differential import mismatch

from graphrt.dtypes import as_dtype, float32, int32
from graphrt.ir import Graph, Node, TensorType, apply, input_node
from graphrt.ops import build
from graphrt.ops.reductions import ReduceMax, ReduceMin, ReduceProd, ReduceSum
from graphrt.ops.windows import WindowSum


def whole_numbers(graph: Graph) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {n.op.label: generator.integers(-4, 5, n.shape).astype(n.dtype.numpy) for n in graph.inputs}


def assert_native(graph: Graph, values: dict[str, np.ndarray] | None = None, *, exact: bool = True) -> None:
    for threads in (1, 3):
        reason = mismatch(graph, values or whole_numbers(graph), exact=exact, threads=threads, poison=True)
        assert reason is None, f"{threads} threads: {reason}\n{graph}"


def reductions(x: Node, *ops: type) -> tuple[Node, ...]:
    """Every op over every set of axes."""
    rank = len(x.shape)
    sets = [axes for count in range(rank + 1) for axes in itertools.combinations(range(rank), count)]
    return tuple(apply(op(axes, keepdims), x) for op in ops for axes in sets for keepdims in (False, True))


@pytest.mark.parametrize(
    "shape", [(1,), (15,), (16,), (17,), (100,), (5, 33), (33, 5), (16, 16), (17, 1, 3), (3, 7, 18), (2, 3, 4, 17)], ids=str
)  # fmt: skip
def test_sums_over_every_set_of_axes(shape: tuple[int, ...]) -> None:
    x = input_node("x", TensorType(shape, float32))
    assert_native(Graph((x,), reductions(x, ReduceSum), {}, "sums"))


@pytest.mark.parametrize("shape", [(17,), (5, 19), (3, 4, 18)], ids=str)
def test_extremes_and_products(shape: tuple[int, ...]) -> None:
    x = input_node("x", TensorType(shape, int32))  # products wrap around in the same way everywhere
    assert_native(Graph((x,), reductions(x, ReduceMax, ReduceMin, ReduceProd), {}, "extremes"))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16", "int8", "uint8", "int64", "uint32"])
def test_element_types(dtype: str) -> None:
    x = input_node("x", TensorType((7, 35), as_dtype(dtype)))
    outputs = [
        apply(op(axes), x) for op in (ReduceSum, ReduceMax, ReduceMin) for axes in ((0,), (1,), (0, 1))
    ]
    assert_native(Graph((x,), tuple(outputs), {}, "types"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("axis", [0, 1])
def test_long_half_precision_sums_do_not_stall(dtype: str, axis: int) -> None:
    """Sums of ones stop growing at 2048 (float16) or 256 (bfloat16) unless they are kept in float32."""
    x = input_node("x", TensorType((4096, 3) if axis == 0 else (3, 4096), as_dtype(dtype)))
    ones = np.ones(x.shape, x.dtype.numpy)
    weights = input_node("w", TensorType((4096, 5) if axis else (5, 4096), x.dtype))
    product = build.matmul(x, weights) if axis else build.matmul(weights, x)
    graph = Graph((x, weights), (apply(ReduceSum((axis,)), x), product), {}, "ones")
    assert_native(graph, {"x": ones, "w": np.ones(weights.shape, x.dtype.numpy)})


@pytest.mark.parametrize("op", [ReduceMax, ReduceMin])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_extremes_of_nan_and_infinity(op: type, axes: tuple[int, ...]) -> None:
    x = input_node("x", TensorType((6, 21), float32))
    values = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    values[0, 3], values[2, 20], values[3, 5], values[4] = np.nan, np.inf, -np.inf, -np.inf
    assert_native(Graph((x,), (apply(op(axes), x),), {}, "extremes"), {"x": values})


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_arithmetic_before_and_after_joins_the_sweep(axes: tuple[int, ...]) -> None:
    x, y = (input_node(name, TensorType((9, 17, 20), float32)) for name in "xy")
    total = build.reduce_sum(build.mul(build.add(x, 1.0), y), axes)
    assert_native(Graph((x, y), (build.relu(total), build.mul(total, total)), {}, "arithmetic"))


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_sums_of_transposed_reversed_and_strided_views(axes: tuple[int, ...]) -> None:
    x = input_node("x", TensorType((18, 23), float32))
    views = (build.transpose(x), build.reverse(x, 1), build.getitem(x, (slice(1, 17, 3), slice(2, 23, 2))))
    assert_native(Graph((x,), tuple(build.reduce_sum(v, axes) for v in views), {}, "views"))


def test_sums_over_nothing_are_zero() -> None:
    x = input_node("x", TensorType((4, 0), float32))
    assert_native(Graph((x,), (apply(ReduceSum((1,)), x), apply(ReduceProd((1,)), x)), {}, "empty"))


@pytest.mark.parametrize("width", [3, 15, 16, 20])
def test_window_sums(width: int) -> None:
    x = input_node("x", TensorType((3, 4, 9, width), float32))
    outputs = (
        apply(WindowSum((2, 2), (2, 2)), x), apply(WindowSum((3, 3), (1, 1), (1, 1, 1, 1)), x),
        apply(WindowSum((3, 2), (2, 3), (1, 0, 0, 1)), x),
    )  # fmt: skip
    assert_native(Graph((x,), outputs, {}, "windows"))


@pytest.mark.parametrize("columns", [1, 15, 16, 33])
def test_scattered_rows_add_up(columns: int) -> None:
    indices = input_node("indices", TensorType((40,), int32))
    updates = input_node("updates", TensorType((40, columns), float32))
    graph = Graph((indices, updates), (build.scatter_add(indices, updates, 7),), {}, "scatter")
    generator = np.random.default_rng(0)
    values = {
        "indices": generator.integers(-2, 9, 40).astype(np.int32),  # those outside are clamped
        "updates": generator.integers(-4, 5, (40, columns)).astype(np.float32),
    }
    assert_native(graph, values)


def test_long_sums_are_accurate() -> None:
    x = input_node("x", TensorType((100_003,), float32))
    values = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    (total,) = _native(Graph((x,), (build.reduce_sum(x),), {}, "long"), values)
    exact = float(np.sum(values.astype(np.float64)))
    assert abs(total - exact) < 1e-5 * float(np.abs(values).sum())


def _native(graph: Graph, *arrays: np.ndarray) -> list[np.ndarray]:
    from graphrt import compiler

    return compiler.compile_graph(graph, threads=1)(*arrays)
