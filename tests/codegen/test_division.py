"""Which thread does what: small training steps divided by samples, with one barrier, and the bits of one thread."""

from __future__ import annotations

import itertools
from unittest import mock

import numpy as np
import pytest
from differential import PROFILES, difference, run_reference
from random_graphs import random_graph, random_values
from turns import BARRIER, run_in_turns

from graphrt import compiler
from graphrt.codegen.division import Division, divide
from graphrt.codegen.lowered import LoweredStep
from graphrt.dtypes import float32, int32
from graphrt.ir import Graph, Node, TensorType, input_node
from graphrt.kernels.reuse import KernelTable
from graphrt.ops import build
from graphrt.passes.differentiate import gradients
from graphrt.passes.pipeline import prepare
from graphrt.runtime.executor import Executable
from graphrt.schedule import work
from graphrt.schedule.plan import schedule

SIZE = 96  # samples


def training_step(widths: tuple[int, ...] = (4, 64, 64, 2), batch: int = 32) -> Graph:
    """One step of a classifier with Adam: gather, layers with ReLU, cross entropy, gradients, updates."""
    column = input_node("x", TensorType((SIZE, widths[0]), float32))
    labels = input_node("y", TensorType((SIZE,), int32))
    indices = input_node("indices", TensorType((batch,), int32))
    weights: list[Node] = []
    h = build.gather(column, indices, 0)
    for k, (size, units) in enumerate(itertools.pairwise(widths)):
        w = input_node(f"w{k}", TensorType((units, size), float32), "state")
        b = input_node(f"b{k}", TensorType((units,), float32), "state")
        h = build.add(build.matmul(build.relu(h) if k else h, build.transpose(w, (1, 0))), b)
        weights += [w, b]
    loss = build.cross_entropy(h, build.gather(labels, indices, 0))
    count = input_node("t", TensorType((), float32), "state")
    step = build.add(count, 1.0)
    updates = {count: step}
    corrections = [build.sub(1.0, build.pow(rate, step)) for rate in (0.9, 0.999)]
    for weight, gradient in zip(weights, gradients([loss], weights)):
        label = weight.op.label  # type: ignore[attr-defined]
        m, v = (input_node(f"{name}.{label}", weight.type, "state") for name in "mv")
        updates[m] = build.add(build.mul(m, 0.9), build.mul(gradient, 0.1))
        updates[v] = build.add(build.mul(v, 0.999), build.mul(build.square(gradient), 0.001))
        first, second = (build.div(updates[s], c) for s, c in zip((m, v), corrections))
        updates[weight] = build.sub(
            weight, build.div(build.mul(first, 0.01), build.add(build.sqrt(second), 1e-8))
        )
    return Graph((column, labels, indices, *updates), (loss,), updates, "training")


def data(graph: Graph) -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    values = {}
    for node in graph.inputs:
        label, shape = node.op.label, node.shape  # type: ignore[attr-defined]
        if label == "indices":
            values[label] = random.permutation(SIZE)[: shape[0]].astype(np.int32)
        elif label == "y":
            values[label] = random.integers(0, 2, shape).astype(np.int32)
        else:
            values[label] = (random.normal(size=shape) / 4).astype(np.float32)
            values[label] = abs(values[label]) if label[0] == "v" else values[label]
    return values


def sink_step(graph: Graph, threads: int) -> LoweredStep:
    return compiler.lower(compiler.optimize(graph), threads=threads, sink=True)


def division(graph: Graph, threads: int = 2, lanes: int = 16) -> Division:
    planned = schedule(prepare(compiler.optimize(graph)), lanes)
    return divide(planned, KernelTable(planned.slots, lanes, threads), threads)


def test_a_small_training_step_meets_once() -> None:
    """All of the samples' work before the barrier, all of the weights' behind it."""
    found = division(training_step())
    assert len(found.phases) == 2
    forward, update = ([part.group.lead.op.name for part in phase] for phase in found.phases)
    assert {"gather", "mat_mul", "exp", "copy"} <= set(forward)
    assert set(update) == {"mat_mul", "reduce_sum"} and update.count("mat_mul") == 3
    step = sink_step(training_step(), 2)
    assert step.parallel and step.threads == 2 and step.early
    assert step.text.count(BARRIER) == 1


def test_what_all_threads_need_is_computed_by_each() -> None:
    """The labels are gathered, and counted for the mean, by every thread; the loss waits until it may cross threads."""
    found = division(training_step())
    each = [part.group.lead.op.name for part in found.phases[0] if part.who == "each"]
    assert each == ["gather", "reduce_sum"]
    assert {node.op.name for node in found.private} >= {"gather"}
    (last,) = [part for part in found.phases[1] if part.who == "first"]
    assert last.group.lead.op.name == "reduce_sum" and last.group.domain == ()


@pytest.mark.parametrize("threads", [2, 3, 4])
@pytest.mark.parametrize("batch", [32, 40, 7])
def test_divided_steps_have_the_bits_of_one_thread(threads: int, batch: int) -> None:
    graph = training_step((5, 40, 24, 3), batch)
    values = data(graph)
    with mock.patch.multiple(work, worth_dividing=lambda alone, together: True, SMALL_STEP=0.0):
        divided = sink_step(graph, threads)
    assert divided.threads == threads
    alone = run_in_turns(sink_step(graph, 1), values, 1, False)
    assert difference(alone, run_reference(graph, values), exact=False) is None
    for count, descending in ((threads, False), (threads, True), (1, False)):
        found = run_in_turns(divided, values, count, descending)
        assert all(found[name].tobytes() == alone[name].tobytes() for name in alone)


@pytest.mark.parametrize("name", ["exact_large", "smooth_large"])
def test_divided_random_graphs_agree_with_the_interpreter(name: str) -> None:
    """With the limits of real programs: kernels on thread 0, and on every thread."""
    kinds: set[str] = set()
    for seed in range(100, 115):
        graph = random_graph(seed, 12, **PROFILES[name])
        exact = name.startswith("exact")
        values = random_values(graph, seed, exact=exact)
        with mock.patch.object(work, "worth_dividing", lambda alone, together: True):
            step = sink_step(graph, 2)
        kinds |= {part.who for part in division(graph).parts}
        expected = run_reference(graph, values)
        for descending in (False, True):
            reason = difference(run_in_turns(step, values, 2, descending), expected, exact=exact)
            assert reason is None, f"seed {seed}, descending {descending}: {reason}"
    assert kinds >= {"all", "first"}


def test_small_calls_and_tiny_sinks_stay_on_one_thread() -> None:
    """Waking another thread costs more than a call of a small network gains; barriers, more than tiny steps."""
    x, w = input_node("x", TensorType((1, 64), float32)), input_node("w", TensorType((64, 64), float32))
    forward = Graph((x, w), (build.relu(build.matmul(x, w)),), {}, "forward")
    for graph in (forward, training_step()):
        step = compiler.lower(compiler.optimize(graph), threads=2)
        assert not step.parallel and step.threads == 1 and BARRIER not in step.text
    assert not sink_step(training_step((4, 8, 2), 8), 2).parallel


def test_many_threads_are_not_better_than_two_for_a_small_step() -> None:
    assert sink_step(training_step(), 16).threads == 2
    assert sink_step(training_step((256, 512, 512, 64), 256), 16).threads == 16


def test_a_step_runs_with_the_threads_it_is_planned_for_or_alone() -> None:
    x = input_node("x", TensorType((512, 512), float32))
    step = compiler.lower(compiler.optimize(Graph((x,), (build.matmul(x, x),), {}, "product")), threads=3)
    assert step.parallel and step.threads == 3
    assert [Executable(step, threads=count).threads for count in (1, 2, 3, 5)] == [1, 1, 3, 3]


def test_steps_that_end_early_have_met_and_know_their_loss() -> None:
    """Thread 0 may go on to the next step when all have begun this one and the loss is there."""
    assert sink_step(training_step(), 2).early
    assert not sink_step(training_step(), 1).early  # no barrier: another thread may not have begun
    x = input_node("x", TensorType((256, 256), float32))
    product = build.matmul(
        build.matmul(x, x), x
    )  # the first output is what the last kernel computes, by all threads
    step = compiler.lower(Graph((x,), (product,), {}, "late"), threads=2)
    assert BARRIER in step.text and not step.early
