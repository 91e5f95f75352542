"""Structurally equal groups share a kernel, others do not; loops over several axes seen as one have plain addresses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from differential import mismatch

from graphrt.codegen.target import target
from graphrt.dtypes import float32
from graphrt.ir import Graph, TensorType, input_node
from graphrt.kernels.build import build_kernel
from graphrt.kernels.reuse import KernelTable
from graphrt.kernels.space import digits_of, loads
from graphrt.loops import ir
from graphrt.loops.index import Var, as_index
from graphrt.ops import build
from graphrt.passes.pipeline import Processor, prepare
from graphrt.schedule.plan import schedule


def tensor(label: str, *shape: int, kind: str = "data"):
    return input_node(label, TensorType(shape, float32), kind)


def planned(graph: Graph):
    return schedule(prepare(graph, Processor(16)), target().lanes)


def check_values(graph: Graph) -> None:
    generator = np.random.default_rng(0)
    values = {n.op.label: generator.integers(-3, 4, n.shape).astype(n.dtype.numpy) for n in graph.inputs}
    assert mismatch(graph, values, exact=True, threads=2, poison=True) is None


def layers(widths: list[int], scales: list[float]) -> Graph:
    x = tensor("x", 32, widths[0])
    weights = [tensor(f"w{k}", a, b, kind="state") for k, (a, b) in enumerate(itertools.pairwise(widths))]
    value = x
    for w, scale in zip(weights, scales):
        value = build.relu(build.mul(build.matmul(value, w), scale))
    return Graph((x, *weights), (build.reduce_sum(value, (1,)),), {}, "layers")


def distinct(graph: Graph) -> tuple[int, int]:
    """(kernels with products, different ones among them)."""
    plan = planned(graph)
    table = KernelTable(plan.slots, target().lanes, 2)
    kernels = [
        table.kernel(g)[0] for g in plan.groups if g.anchor is not None and g.anchor.op.name == "mat_mul"
    ]
    return len(kernels), len(set(kernels))


def test_equal_layers_share_a_kernel() -> None:
    graph = layers([40] * 5, [0.5] * 4)
    assert distinct(graph) == (4, 2)  # the first reads the row-major input
    check_values(graph)


@pytest.mark.parametrize(
    ("widths", "scales"), [([40, 40, 40, 24, 40], [0.5] * 4), ([40] * 5, [0.5, 0.5, 0.25, 0.125])]
)
def test_other_shapes_and_constants_get_kernels_of_their_own(widths, scales) -> None:
    graph = layers(widths, scales)
    count, different = distinct(graph)
    assert different > 2 and different <= count
    check_values(graph)


def test_which_buffers_are_the_same_matters() -> None:
    """x * x reads one buffer, x * y two: not the same kernel although every node has the same operation and type."""
    x, y = tensor("x", 40, 50), tensor("y", 40, 50)
    first, second = build.reduce_sum(build.mul(x, x), (1,)), build.reduce_sum(build.mul(x, y), (1,))
    graph = Graph((x, y), (first, second), {}, "squares")
    plan = planned(graph)
    table = KernelTable(plan.slots, target().lanes, 1)
    assert len({table.kernel(group)[0] for group in plan.groups}) == len(plan.groups)
    check_values(graph)


def test_a_shared_kernel_is_bound_to_its_own_buffers() -> None:
    graph = layers([40] * 5, [0.5] * 4)
    plan = planned(graph)
    table = KernelTable(plan.slots, target().lanes, 2)
    for group in plan.groups:
        own_kernel, own = build_kernel(group, plan.slots, target().lanes, 2)
        kernel, slots = table.kernel(group)
        assert [s.label for s in slots] == [s.label for s in own]
        assert [b.elements for b in kernel.buffers] == [b.elements for b in own_kernel.buffers]


# ---- several axes seen as one ----------------------------------------------------------------------------------


def test_digits_follow_the_divisors() -> None:
    var = Var("r", 768)
    r = as_index(var)
    assert digits_of([(r // 64) * 8192 + (r % 64 // 16) * 512 + r % 16], var) == (4, 16)
    assert digits_of([r * 5 + 1], var) == ()
    assert digits_of([r // 5], var) == ()  # 5 does not divide 768
    assert digits_of([(r // 48) + (r % 32)], var) == ()  # 32 does not divide 48


def test_a_product_over_merged_axes_divides_nothing_inside() -> None:
    """x (4, 3, 32, 8) as (4 * 32, 3 * 8): the sum over the first axis runs in nested loops with plain addresses."""
    x, y = tensor("x", 4, 3, 32, 8), tensor("y", 128, 48)
    rows = build.reshape(build.transpose(x, (1, 3, 0, 2)), (24, 128))
    graph = Graph((x, y), (build.matmul(rows, y),), {}, "merged")
    plan = planned(graph)
    kernels = [build_kernel(g, plan.slots, target().lanes, 1)[0] for g in plan.groups]
    product = kernels[-1]
    sums = [
        s for s in ir.statements(product.body) if isinstance(s, ir.Assign) and isinstance(s.value, ir.Fma)
    ]
    assert sums
    loops = {
        s.var for s in ir.statements(product.body) if isinstance(s, ir.Loop) and s.var.name.startswith("r")
    }
    assert len(loops) >= 2
    for load in loads(s.value for s in sums):
        for atom, _ in load.address.terms:
            assert isinstance(atom, Var) or not (atom.index.vars() & loops)
    check_values(graph)
