"""Sums taken where their terms are computed, what is computed again instead of read, and sweeps that clear margins on their
way: which kernels there are, and that results are those of the interpreter at every batch, direction and number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from differential import difference, mismatch, run_native, run_reference, run_step

import graphrt
from graphrt import compiler
from graphrt.dtypes import float32
from graphrt.ir import Graph, Node, TensorType, input_node
from graphrt.kernels import pointwise
from graphrt.kernels.build import build_kernel
from graphrt.kernels.contraction_plan import Plan, analyse, choose_plan, ranked_plans, whole_row
from graphrt.kernels.winograd_plan import Winograd
from graphrt.loops.ir import Constant, Store, statements
from graphrt.ops import build
from graphrt.passes.differentiate import gradients
from graphrt.passes.pipeline import Processor, prepare
from graphrt.schedule import partial_sums, recomputed_reads
from graphrt.schedule.group import Group
from graphrt.schedule.plan import schedule


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tensors are treated like those beyond the cache, so that compiling and running them is quick."""
    for module in (partial_sums, recomputed_reads, pointwise):
        monkeypatch.setattr(module, "CACHED_BYTES", 64)
    monkeypatch.setattr(partial_sums, "SUM_BLOCKS", 1)


def tensor(label: str, *shape: int, kind: str = "data") -> Node:
    return input_node(label, TensorType(shape, float32), kind)


def residual_step(batch: int, stride: int = 1, size: tuple[int, int] = (6, 5), channels: int = 4) -> Graph:
    """A training step of two normalized convolutions with a skip connection around the second."""
    x, label = (
        tensor("x", batch, 3, *size),
        tensor("label", batch, channels, *(-(-n // stride) for n in size)),
    )
    first = tensor("first", channels, 3, 3, 3, kind="state")
    second = tensor("second", channels, channels, 3, 3, kind="state")
    vectors = [tensor(name, channels, kind="state") for name in ("gamma0", "beta0", "gamma1", "beta1")]
    hidden = build.relu(
        build.batch_norm(build.conv2d(x, first, padding=1, stride=stride), vectors[0], vectors[1])
    )
    normalized = build.batch_norm(build.conv2d(hidden, second, padding=1), vectors[2], vectors[3])
    out = build.relu(build.add(normalized, hidden))
    loss = build.reduce_mean(build.square(build.sub(out, label)))
    states = [first, second, *vectors]
    updates = {s: build.sub(s, build.mul(g, 0.5)) for s, g in zip(states, gradients([loss], states))}
    return Graph((x, label, *states), (loss,), updates, "residual")


def groups(graph: Graph, lanes: int = 16) -> list[Group]:
    return schedule(prepare(compiler.optimize(graph), Processor(whole_row(lanes))), lanes).groups


def values(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {n.op.label: random.standard_normal(n.shape).astype(np.float32) for n in graph.inputs}


def test_statistics_join_convolutions_and_the_gradients_sweep() -> None:
    found = [(g.lead.op.name, len(g.sums)) for g in groups(residual_step(64))]
    assert found.count(("conv2d", 1)) == 2  # the means
    assert found.count(("sub", 1)) == 2  # the variances, in the sweeps behind them
    # of the two cotangents, the last sweep of the loss makes one, backward-data the other
    assert {name for name, count in found if count == 2} == {"relu", "conv2d"}
    alone = [g for g in groups(residual_step(64)) if g.anchor is not None and g.anchor.shape == (64, 4)]
    assert alone == []


def test_small_tensors_and_small_batches_keep_their_sums_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_sums, "SUM_BLOCKS", 5)
    assert not any(g.sums for g in groups(residual_step(64)))
    assert any(g.sums for g in groups(residual_step(65)))
    monkeypatch.setattr(partial_sums, "CACHED_BYTES", 1 << 20)
    assert not any(g.sums for g in groups(residual_step(65)))


@pytest.mark.parametrize(
    ("batch", "stride", "convolution"),
    [(48, 1, "direct"), (37, 1, "direct"), (64, 2, "direct"), (37, 1, "winograd")],
)
def test_training_steps_with_sums_in_their_kernels(
    batch: int, stride: int, convolution: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Winograd, "pays", lambda self, node: True)
    graph = residual_step(batch, stride)
    previous = graphrt.get_context("convolution")
    graphrt.set_context(convolution=convolution)
    try:
        for threads in (1, 2, 3):
            reason = mismatch(graph, values(graph), exact=False, threads=threads, poison=True)
            assert reason is None, f"{threads} threads: {reason}"
    finally:
        graphrt.set_context(convolution=previous)


def test_the_number_of_threads_changes_no_bit() -> None:
    graph = residual_step(64)
    results = [run_native(graph, values(graph), threads=n) for n in (1, 2, 3)]
    for other in results[1:]:
        assert all(np.array_equal(other[name], array) for name, array in results[0].items())


def test_lanes_along_a_summed_axis_are_folded() -> None:
    """A plan may put other axes into lanes than the results are stored with."""
    graph = residual_step(48, size=(4, 16))

    def along_columns(name, spec, dependence, lanes) -> Plan:
        plans = ranked_plans(spec, dependence, lanes, 1000)
        return next((plan for plan in plans if plan.vector == 3), plans[0])

    step = compiler.lower(compiler.optimize(graph), threads=1, plans=along_columns)
    found = run_step(step, graph, values(graph))
    assert difference(found, run_reference(graph, values(graph)), exact=False) is None


def test_terms_are_read_before_the_results_overwrite_them() -> None:
    """A running sum over images is updated in the sweep that adds up what it was before."""
    x, w = tensor("x", 64, 3, 6, 5), tensor("w", 4, 3, 3, 3)
    old = tensor("old", 64, 4, 4, 3, kind="state")
    y = build.conv2d(x, w)
    new = build.add(old, y)
    total = build.reduce_sum(build.reduce_sum(build.mul(y, old), (2, 3)), (0,))
    graph = Graph((x, w, old), (total,), {old: new}, "running")
    for threads in (1, 2):
        reason = mismatch(graph, values(graph), exact=False, threads=threads, poison=True)
        assert reason is None, reason


def test_an_activation_is_computed_again_where_its_argument_is_read() -> None:
    """Backward-data's epilogue reads the convolution's result for a sum: the mask of the activation needs no more."""
    found = groups(residual_step(64))
    backward = next(g for g in found if len(g.sums) == 2 and g.anchor is not None)
    again = [n for n in backward.members if n.op.name == "relu"]
    assert len(again) == 1
    assert again[0] not in backward.stores
    assert again[0] not in backward.operands
    assert any(again[0] in g.stores for g in found)


def test_sweeps_clear_margins_as_they_come_past() -> None:
    """One loop over blocks of images writes the activation and the zeros around it, where blocks are full."""
    for batch, loops in ((64, 1), (60, None)):
        graph = residual_step(batch)
        plan = schedule(prepare(compiler.optimize(graph), Processor(whole_row(16))), 16)
        group = next(
            g for g in plan.groups if g.stores[0].op.name == "relu" and plan.slots[g.stores[0]].layout.margins
        )
        kernel, _ = build_kernel(group, plan.slots, 16, 2)
        assert loops is None or len(kernel.body) == loops
        margin = [
            s for s in statements(kernel.body) if isinstance(s, Store) and isinstance(s.value, Constant)
        ]
        assert margin


def test_equal_plans_prefer_neighbours_in_a_row_to_blocks_of_images() -> None:
    """Blocks of images lie in pages far from each other."""
    x, w = tensor("x", 128, 16, 32, 32), tensor("w", 32, 16, 1, 1)
    y = build.relu(build.conv2d(build.mul(x, 2.0), w, stride=2))
    plan = schedule(
        prepare(compiler.optimize(Graph((x, w), (build.reduce_sum(y, (1,)),), {})), Processor(whole_row(16))),
        16,
    )
    group = next(g for g in plan.groups if g.anchor is not None and g.anchor.op.name == "conv2d")
    spec = group.anchor.op.contraction([n.type for n in group.anchor.inputs])
    tiles = choose_plan(spec, analyse(group, spec, plan.slots, 16), 16).tiles
    assert tiles[0] == 1
    assert tiles[3] > 1
