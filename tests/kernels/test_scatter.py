"""The native scatter kernel: order of additions, threads, fusion around it."""

import numpy as np
import pytest

from graphrt.compiler import compile_graph, lower, optimize
from graphrt.dtypes import float32, int32
from graphrt.ir import Graph, TensorType, input_node
from graphrt.ops import build

RNG = np.random.default_rng(8)


def table_update(rows, shape, columns):
    """state -= 0.5 * scatter(indices, 2 * updates): a prologue before and an update behind the scatter."""
    indices = input_node("indices", TensorType(shape, int32))
    updates = input_node("updates", TensorType((*shape, *columns), float32))
    state = input_node("table", TensorType((rows, *columns), float32), kind="state")
    gradient = build.scatter_add(indices, build.mul(updates, 2.0), rows)
    value = build.sub(state, build.mul(gradient, 0.5))
    loss = build.reduce_sum(build.mul(gradient, gradient))
    return Graph((indices, updates, state), (loss,), {state: value})


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "rows, shape, columns", [(65, (12, 64), (128,)), (7, (40,), (5, 9)), (3, (9,), ()), (5, (2, 3, 4), (33,))]
)
def test_update_of_a_table(rows, shape, columns, threads):
    graph = table_update(rows, shape, columns)
    indices = RNG.integers(0, rows, shape).astype(np.int32)
    updates = RNG.standard_normal((*shape, *columns)).astype(np.float32)
    table = RNG.standard_normal((rows, *columns)).astype(np.float32)
    gradient = np.zeros_like(table)
    np.add.at(gradient, indices, updates * np.float32(2))
    expected = table - gradient * np.float32(0.5)
    (loss,) = compile_graph(graph, threads=threads)(indices, updates, state={"table": table})
    np.testing.assert_array_equal(table, expected)  # to the bit: the order of additions is fixed
    np.testing.assert_allclose(loss, np.square(gradient, dtype=np.float64).sum(), rtol=1e-4)


def test_nothing_joins_the_scatter_kernel():
    groups = []
    lower(
        optimize(table_update(65, (12, 64), (128,))),
        threads=2,
        record=lambda stage, result: groups.extend(result.schedule.groups) if stage == "fused" else None,
    )
    (scatter,) = [g for g in groups if g.anchor is not None and g.anchor.op.name == "scatter_add"]
    assert scatter.stores == [scatter.anchor]
    assert not any(
        n.op.name == "mul" and not g.anchor for g in groups[: groups.index(scatter)] for n in g.stores
    )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape, columns", [((3, 32), (48,)), ((64,), (2, 16))])
def test_updates_with_indices_in_lanes_are_turned(shape, columns, threads):
    """What a product leaves with tokens in lanes, added up by token."""
    width, count = int(np.prod(columns)), int(np.prod(shape))
    indices = input_node("indices", TensorType(shape, int32))
    x = input_node("x", TensorType((count, 40), float32))
    weight = input_node("weight", TensorType((40, width), float32))
    table = input_node("table", TensorType((9, *columns), float32), kind="state")
    product = build.matmul(build.tanh(x), weight)
    updates = build.mul(build.reshape(product, (*shape, *columns)), 0.5)
    value = build.sub(table, build.scatter_add(indices, updates, 9))
    graph = Graph((indices, x, weight, table), (build.reduce_sum(build.square(product)),), {table: value})
    kernels = []
    lower(
        optimize(graph),
        threads=threads,
        record=lambda stage, result: kernels.extend(result) if stage == "loops" else None,
    )
    (scatter,) = [kernel for kernel in kernels if "scatter_add" in kernel.name]
    assert "transpose" in str(scatter)
    arrays = (
        RNG.integers(-1, 10, shape).astype(np.int32),
        RNG.standard_normal((count, 40)).astype(np.float32),
        RNG.standard_normal((40, width)).astype(np.float32),
    )
    state = RNG.standard_normal((9, *columns)).astype(np.float32)
    expected = state.astype(np.float64)
    terms = 0.5 * (np.tanh(arrays[1].astype(np.float64)) @ arrays[2]).reshape(*shape, *columns)
    np.subtract.at(expected, np.clip(arrays[0], 0, 8), terms)
    compile_graph(graph, threads=threads)(*arrays, state={"table": state})
    np.testing.assert_allclose(state, expected, rtol=1e-4, atol=1e-4)
