"""Known zeros beside a diagonal: which tensors have them, what the loops leave out, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from differential import mismatch

from graphrt.codegen.target import target
from graphrt.dtypes import float32
from graphrt.ir import Graph, Node, TensorType, apply, input_node
from graphrt.ir.interpret import evaluate
from graphrt.kernels.build import build_kernel
from graphrt.loops import ir
from graphrt.ops import build
from graphrt.ops.attention import ScaledDotProductAttention
from graphrt.ops.losses import Softmax
from graphrt.passes import pipeline
from graphrt.passes.differentiate import gradients
from graphrt.schedule.bands import Band, kept_share, tile_share, useful_share, value_band, zero_band
from graphrt.schedule.plan import schedule


def tensor(label: str, *shape: int) -> Node:
    return input_node(label, TensorType(shape, float32))


def values_of(graph: Graph) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    return {n.op.label: generator.standard_normal(n.shape).astype(np.float32) for n in graph.inputs}


def check_values(graph: Graph) -> None:
    for threads in (1, 2):
        assert mismatch(graph, values_of(graph), exact=False, threads=threads, poison=True) is None


def kernels(graph: Graph) -> list[ir.Kernel]:
    plan = schedule(pipeline.prepare(pipeline.run(graph), pipeline.Processor(16)), target().lanes)
    return [build_kernel(group, plan.slots, target().lanes, 1)[0] for group in plan.groups]


def narrowed(kernel: ir.Kernel) -> bool:
    return any(isinstance(s, ir.Loop) and (s.low or s.high) for s in ir.statements(kernel.body))


# ---- which tensors ---------------------------------------------------------------------------------------------


def masked(kind: str, rows: int, columns: int, fill: float = float("-inf")) -> Node:
    x = tensor("x", 2, rows, columns)
    row, column = (build.iota(x.shape, axis, "int32") for axis in (1, 2))
    masks = {
        "comparison": lambda: build.less_equal(column, row),
        "turned": lambda: build.greater_equal(row, column),
        "strict": lambda: build.less(column, row),
        "constant": lambda: build.constant(np.tril(np.ones((rows, columns), bool))),
        "wide": lambda: build.constant(np.tril(np.ones((rows, columns), bool), 3)),
        "upper": lambda: build.greater_equal(column, row),
    }
    return build.where(masks[kind](), x, fill)


def optimized(node: Node) -> Node:
    inputs = tuple(n for n in Graph((), (node,), {}, "g").nodes() if n.is_input)
    return pipeline.run(Graph(inputs, (node,), {}, "g")).outputs[0]


@pytest.mark.parametrize(
    ("kind", "rows", "columns", "offset"),
    [("comparison", 1, 2, 0), ("turned", 1, 2, 0), ("strict", 1, 2, -1), ("constant", 1, 2, 0), ("wide", 1, 2, 3),
     ("upper", 2, 1, 0)],
)  # fmt: skip
def test_masks_are_understood(kind: str, rows: int, columns: int, offset: int) -> None:
    node = masked(kind, 8, 10, 2.0)
    assert value_band(node) == Band(rows, columns, offset, 2.0)
    (source,) = (n for n in Graph((), (node,), {}, "g").nodes() if n.is_input)
    (result,) = evaluate([node], {source: np.zeros(source.shape, np.float32)})
    difference = np.subtract.outer(np.arange(8), np.arange(10)) * (-1 if rows == 1 else 1)
    np.testing.assert_array_equal(
        result, np.broadcast_to(np.where(difference > offset, 2.0, 0.0), (2, 8, 10))
    )


def test_softmax_makes_zeros_of_masked_scores() -> None:
    result = optimized(apply(Softmax(2), masked("comparison", 8, 8)))
    assert zero_band(result) == Band(1, 2, 0)
    assert zero_band(build.transpose(result, (0, 2, 1))) == Band(2, 1, 0)
    assert zero_band(build.mul(tensor("y", 2, 8, 8), result)) == Band(1, 2, 0)
    assert zero_band(build.add(result, 1.0)) is None


def test_rows_without_any_score_are_not_zero() -> None:
    """The first row of a strict mask is all masked: softmax makes NaN of it (of -1e30: equal weights), not zeros."""
    for kind, fill in (("strict", -1e30), ("comparison", -50.0)):
        assert zero_band(optimized(apply(Softmax(2), masked(kind, 8, 8, fill)))) is None


def test_only_the_rows_own_maximum_counts() -> None:
    node = masked("comparison", 8, 8, -1e30)
    assert zero_band(build.exp(build.sub(node, tensor("shift", 2, 8, 8)))) is None


# ---- how much is left ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns", "offset"), [(64, 64, 0), (20, 33, 3), (33, 20, -2), (5, 7, 100)])
def test_shares_count_what_blocks_touch(rows: int, columns: int, offset: int) -> None:
    inside = np.subtract.outer(np.arange(rows), np.arange(columns)) + offset >= 0
    for tile in (1, 4, 16):
        by_rows = sum(
            len(block) * (np.flatnonzero(block.any(0)).max(initial=-1) + 1)
            for block in (inside[k : k + tile] for k in range(0, rows, tile))
        )
        assert kept_share(rows, columns, offset, tile, True) == pytest.approx(by_rows / inside.size)
        turned = inside.T
        by_columns = sum(
            len(block) * (rows - (np.flatnonzero(block.any(0)).min() if block.any() else rows))
            for block in (turned[k : k + tile] for k in range(0, columns, tile))
        )
        assert kept_share(rows, columns, offset, tile, False) == pytest.approx(by_columns / inside.size)
    assert tile_share(64, 64, 0, 16, 16) == 10 / 16
    assert tile_share(64, 64, 0, 16, 8) == (2 + 4 + 6 + 8) / 32


# ---- attention -------------------------------------------------------------------------------------------------


def attention_step(rows: int, columns: int, width: int = 16, batch: int = 2) -> Graph:
    """Attention and its three gradients."""
    query, seed = (tensor(k, batch, rows, width) for k in ("query", "seed"))
    key, value = (tensor(k, batch, columns, width) for k in ("key", "value"))
    seen = apply(ScaledDotProductAttention(True, width**-0.5), query, key, value)
    total = build.reduce_sum(build.mul(seen, seed), (0, 1, 2))
    return Graph((query, seed, key, value), (seen, *gradients([total], [query, key, value])), {}, "attention")


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (32, 48), (48, 32), (20, 20), (17, 65), (1, 16)])
def test_causal_attention_and_its_gradients(rows: int, columns: int) -> None:
    check_values(attention_step(rows, columns))


def test_causal_products_walk_less() -> None:
    """Forward and backward: all six products of one head leave out blocks, and so do the sweeps between them."""
    graph = attention_step(64, 64)
    cut = [kernel.name for kernel in kernels(graph) if narrowed(kernel)]
    assert sum("mat_mul" in name for name in cut) == 6
    assert any("exp" in name for name in cut)


def test_only_terms_that_count_are_work() -> None:
    """64 * 65 / 2 of 64 * 64 pairs, in each of the six products."""
    plan = schedule(
        pipeline.prepare(pipeline.run(attention_step(64, 64)), pipeline.Processor(16)), target().lanes
    )
    products = [g for g in plan.groups if g.anchor is not None and g.anchor.op.name == "mat_mul"]
    assert [useful_share(g.anchor, g.stores) for g in products] == [65 / 128] * 6


def test_nothing_is_left_out_without_a_mask() -> None:
    query, key, value = (tensor(k, 2, 64, 16) for k in ("query", "key", "value"))
    seen = apply(ScaledDotProductAttention(False, 0.25), query, key, value)
    graph = Graph((query, key, value), (seen,), {}, "attention")
    assert not any(narrowed(kernel) for kernel in kernels(graph))


@pytest.mark.parametrize("kind", ["comparison", "constant", "wide", "upper", "strict"])
def test_products_of_masked_matrices(kind: str) -> None:
    """Zeros left of products, in both factors' places and turned; whole numbers, so the sums are exact."""
    for rows, columns in ((64, 64), (33, 48)):
        weights = masked(kind, rows, columns, 0.0)
        source = next(n for n in Graph((), (weights,), {}, "g").nodes() if n.is_input)
        right, left = tensor("right", 2, columns, 32), tensor("left", 2, 32, rows)
        turned = build.matmul(build.transpose(weights, (0, 2, 1)), build.transpose(left, (0, 2, 1)))
        outputs = (build.matmul(weights, right), build.matmul(left, weights), turned)
        graph = Graph((source, right, left), outputs, {}, "masked")
        generator = np.random.default_rng(5)
        values = {n.op.label: generator.integers(-3, 4, n.shape).astype(np.float32) for n in graph.inputs}
        assert mismatch(graph, values, exact=True, threads=2, poison=True) is None
