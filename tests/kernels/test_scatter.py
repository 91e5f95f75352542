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
