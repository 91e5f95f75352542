"""Small training steps for the tests of the schedule: a dense network and a LeNet, with plain gradient descent."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from graphrt import compiler
from graphrt.dtypes import float32, int32
from graphrt.ir import Graph, Node, TensorType, input_node
from graphrt.kernels.contraction_plan import sums_over_windows, taps_over_windows, whole_row
from graphrt.ops import build
from graphrt.passes.append_updates import append_updates
from graphrt.passes.pipeline import Processor, prepare
from graphrt.schedule.plan import Schedule, schedule

LANES = 16


def tensor(label: str, *shape: int, kind: str = "data", dtype=float32) -> Node:
    return input_node(label, TensorType(shape, dtype), kind)


def state(label: str, *shape: int) -> Node:
    return tensor(label, *shape, kind="state")


def sgd(parameters: Sequence[Node], gradients: Sequence[Node]) -> dict[Node, Node]:
    return {w: build.sub(w, build.mul(g, 0.125)) for w, g in zip(parameters, gradients)}


def momentum(parameters: Sequence[Node], gradients: Sequence[Node]) -> dict[Node, Node]:
    updates: dict[Node, Node] = {}
    for w, g in zip(parameters, gradients):
        moment = state(f"{w.op.label}.moment", *w.shape)
        updates[moment] = build.add(build.mul(moment, 0.5), g)
        updates[w] = build.sub(w, build.mul(updates[moment], 0.125))
    return updates


def trained(logits: Node, labels: Node, inputs: Sequence[Node], optimizer=sgd) -> Graph:
    loss = build.reduce_mean(build.softmax_cross_entropy_sparse(logits, labels))
    parameters = [n for n in inputs if n.is_state]
    return append_updates(Graph((*inputs, labels), (loss,), {}, "step"), parameters, optimizer)


def dense_step(batch: int = 32, sizes: Sequence[int] = (48, 40, 10), optimizer=sgd) -> Graph:
    x = tensor("x", batch, sizes[0])
    inputs, y = [x], x
    for k, (before, after) in enumerate(itertools.pairwise(sizes)):
        w, b = state(f"w{k}", after, before), state(f"b{k}", after)
        inputs += [w, b]
        y = build.dense(y, w, b)
        y = build.relu(y) if k < len(sizes) - 2 else y
    return trained(y, tensor("labels", batch, dtype=int32), inputs, optimizer)


def lenet_step(batch: int) -> Graph:
    """Two convolutions with pooling and two dense layers, on images of 16 x 16."""
    x = tensor("x", batch, 1, 16, 16)
    c1, c2 = state("c1", 6, 1, 5, 5), state("c2", 8, 6, 3, 3)
    w1, b1, w2, b2 = state("w1", 20, 32), state("b1", 20), state("w2", 10, 20), state("b2", 10)
    y = build.max_pool2d(build.relu(build.conv2d(x, c1)), 2)
    y = build.max_pool2d(build.relu(build.conv2d(y, c2)), 2)
    y = build.dense(build.relu(build.dense(build.reshape(y, (batch, 32)), w1, b1)), w2, b2)
    return trained(y, tensor("labels", batch, dtype=int32), [x, c1, c2, w1, b1, w2, b2])


def scheduled(graph: Graph, lanes: int = LANES) -> Schedule:
    """What `compiler.lower` schedules."""
    processor = Processor(
        whole_row=whole_row(lanes),
        lanes=lanes,
        sum_windows=lambda *x: sums_over_windows(*x, lanes),
        look_up_taps=lambda *x: taps_over_windows(*x, lanes),
    )
    prepared = prepare(compiler.optimize(graph), processor)
    return schedule(prepared, lanes)
