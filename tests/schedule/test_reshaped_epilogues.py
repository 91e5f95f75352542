"""Epilogues over a reshape of what they follow, values stored in place of their operands, and the order of kernels."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from differential import mismatch

from graphrt.ir import Graph, Node
from graphrt.ops import build
from graphrt.ops.views import matched_axes, reshaped_position
from graphrt.schedule.plan import Schedule

from .networks import scheduled, state, tensor


def names(planned: Schedule) -> list[list[str]]:
    return [[n.op.name for n in group.stores] for group in planned.groups]


def check_values(graph: Graph, exact: bool = True) -> None:
    generator = np.random.default_rng(0)
    values = {n.op.label: generator.integers(-3, 4, n.shape).astype(n.dtype.numpy) for n in graph.inputs}
    for threads in (1, 2):
        assert mismatch(graph, values, exact=exact, threads=threads, poison=True) is None


# ---- positions -------------------------------------------------------------------------------------------------


def factors(count: int, choose: random.Random) -> tuple[int, ...]:
    shape = [1] if choose.random() < 0.2 else []
    while count > 1:
        shape.append(choose.choice([d for d in range(2, count + 1) if count % d == 0]))
        count //= shape[-1]
        shape += [1] if choose.random() < 0.3 else []
    return tuple(shape)


def test_positions_are_those_of_a_row_major_reshape() -> None:
    choose = random.Random(1)
    for _ in range(150):
        count = choose.choice([1, 2, 6, 12, 24, 30, 36])
        shape, target = factors(count, choose), factors(count, choose)
        for place in itertools.product(*map(range, shape)):
            found = reshaped_position(place, shape, target)
            expected = np.unravel_index(np.ravel_multi_index(place, shape) if shape else 0, target or (1,))
            assert found == tuple(expected)[: len(target)], (shape, target, place)


def test_axes_are_matched_in_the_smallest_parts() -> None:
    parts = [((12, 64), (768,)), ((8,), (4, 2))]
    found = matched_axes((12, 64, 8), (768, 4, 2))
    assert [((12, 64, 8)[a], (768, 4, 2)[b]) for a, b in found] == parts


def test_positions_in_an_empty_tensor() -> None:
    assert reshaped_position((0, 0), (0, 3), (3, 0)) == (0, 0)


# ---- epilogues -------------------------------------------------------------------------------------------------


def residual(tokens: int, batch: int = 3, width: int = 32) -> Graph:
    x, w, v = tensor("x", batch, tokens, 32), state("w", 32, width), state("v", width, 32)
    skip = tensor("skip", batch, tokens, width)
    product = build.matmul(build.reshape(x, (batch * tokens, 32)), w)
    total = build.relu(build.add(build.reshape(product, (batch, tokens, width)), skip))
    result = build.matmul(build.reshape(total, (batch * tokens, width)), v)
    return Graph((x, w, v, skip), (result,), {}, "residual")


@pytest.mark.parametrize("tokens", [16, 32, 48])
def test_an_epilogue_may_see_the_product_reshaped(tokens: int) -> None:
    planned = scheduled(residual(tokens))
    (group,) = [g for g in planned.groups if any(n.op.name == "relu" for n in g.stores)]
    assert group.anchor is not None and group.anchor.op.name == "mat_mul"
    assert group.domain == (3 * tokens, 32) and group.stores[0].shape == (3, tokens, 32)


@pytest.mark.parametrize(("tokens", "width"), [(16, 32), (5, 32), (17, 32), (32, 7), (1, 32), (5, 1)])
def test_reshaped_epilogues_have_the_right_values(tokens: int, width: int) -> None:
    check_values(residual(tokens, width=width))


def test_lanes_do_not_spill_over_into_the_next_row() -> None:
    """Rows of 5 fill no whole block of lanes: their flattened copy is another sweep."""
    x, w = tensor("x", 4, 6), tensor("w", 6, 5)
    flat = build.relu(build.reshape(build.matmul(x, w), (20,)))
    graph = Graph((x, w), (flat,), {}, "flat")
    assert len(scheduled(graph).groups) == 2
    check_values(graph)


@pytest.mark.parametrize("shape", [(3, 7, 18), (2, 5, 33), (4, 16, 16)])
def test_a_reduction_keeps_its_axes_in_one_kernel(shape: tuple[int, ...]) -> None:
    x = tensor("x", *shape)
    short, kept = (build.reduce_sum(x, (1,), keepdims=keep) for keep in (False, True))
    graph = Graph((x,), (short, build.mul(kept, 2.0)), {}, "sums")
    assert len(scheduled(graph).groups) == 1
    check_values(graph)


def test_an_update_in_another_shape_stays_in_place() -> None:
    x, y, w = tensor("x", 16, 40), tensor("y", 40, 32), state("w", 1, 16, 32)
    gradient = build.reshape(build.matmul(x, y), (1, 16, 32))
    graph = Graph((x, y, w), (), {w: build.sub(w, gradient)}, "update")
    planned = scheduled(graph)
    assert [n.op.name for n in planned.groups[-1].stores] == ["sub"]
    assert not [
        slot for slot in planned.slots.values() if slot.kind == "arena" and slot.node.shape == w.shape
    ]
    check_values(graph)


# ---- values stored in place of their operands ------------------------------------------------------------------


def activation_step(activation) -> tuple[Graph, Node]:
    x, w, v = tensor("x", 32, 48), state("w", 48, 64), state("v", 64, 48)
    y, slope = activation(build.matmul(x, w))
    seed = build.sub(build.matmul(y, v), x)
    back = build.mul(build.matmul(seed, build.transpose(v, (1, 0))), slope)
    gradient = build.matmul(build.transpose(x, (1, 0)), back)
    return Graph((x, w, v), (seed,), {w: build.sub(w, build.mul(gradient, 0.125))}, "step"), slope


def gelu(u: Node) -> tuple[Node, Node]:
    weight = build.erf(build.mul(u, math.sqrt(0.5)))
    growth = build.mul(build.exp(build.mul(build.mul(u, u), -0.5)), math.sqrt(2 / math.pi))
    slope = build.add(build.mul(build.add(weight, 1.0), 0.5), build.mul(build.mul(u, 0.5), growth))
    return build.mul(build.mul(u, 0.5), build.add(weight, 1.0)), slope


def tanh(u: Node) -> tuple[Node, Node]:
    y = build.tanh(u)
    return y, build.sub(1.0, build.mul(y, y))


def test_a_slope_is_stored_in_place_of_what_it_is_computed_from() -> None:
    graph, _ = activation_step(gelu)
    planned = scheduled(graph)
    first = next(g for g in planned.groups if g.anchor is not None and g.anchor.op.name == "mat_mul")
    assert sorted(n.op.name for n in first.stores) == ["add", "mul"]  # the slope and the result
    check_values(graph, exact=False)


def test_nothing_is_stored_for_a_slope_of_the_result_alone() -> None:
    graph, slope = activation_step(tanh)
    planned = scheduled(graph)
    stored = [n for g in planned.groups for n in g.stores if n.shape == slope.shape]
    assert "sub" not in {n.op.name for n in stored}
    check_values(graph, exact=False)


# ---- order -----------------------------------------------------------------------------------------------------


def deep_step(layers: int) -> Graph:
    x = tensor("x", 32, 32)
    weights = [state(f"w{k}", 32, 32) for k in range(layers)]
    values = [x]
    for w in weights:
        values.append(build.relu(build.matmul(values[-1], w)))
    gradient, updates = build.mul(values[-1], 0.5), {}
    for k in reversed(range(layers)):
        gradient = build.where(build.greater(values[k + 1], 0.0), gradient, 0.0)
        step = build.matmul(build.transpose(values[k], (1, 0)), gradient)
        updates[weights[k]] = build.sub(weights[k], build.mul(step, 0.25))
        gradient = build.matmul(gradient, build.transpose(weights[k], (1, 0)))
    ordered = {w: updates[w] for w in weights}  # the first layer's update first, as a traced step has it
    return Graph((x, *weights), (), ordered, "deep")


def test_weight_gradients_run_while_backward_is_there() -> None:
    """The last layer's weight is updated before the gradients of the layers in front of it are computed."""
    graph = deep_step(5)
    planned = scheduled(graph)
    updates = {id(value): label.op.label for label, value in planned.graph.updates.items()}
    labels = [updates[id(n)] for group in planned.groups for n in group.stores if id(n) in updates]
    assert labels[:3] == ["w4", "w3", "w2"]
    last = next(
        k for k, g in enumerate(planned.groups) if any(planned.slots[n].label == "w4" for n in g.stores)
    )
    assert last < len(planned.groups) - 4
    check_values(graph, exact=False)
