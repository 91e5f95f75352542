"""What each pass does to a small graph, as IR text before and after (tests/golden, refresh with --update-golden)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from graphrt.dtypes import float32, int32
from graphrt.ir import Graph, Node, Source, TensorType, apply, input_node, source_scope
from graphrt.ir.text import to_text
from graphrt.ir.verify import verify
from graphrt.ops import build
from graphrt.ops.windows import WindowArgMax, WindowScatter
from graphrt.passes.append_updates import append_updates
from graphrt.passes.expand_composites import expand_composites
from graphrt.passes.fold_constants import fold_constants
from graphrt.passes.merge_duplicates import merge_duplicates
from graphrt.passes.remove_dead import remove_dead
from graphrt.passes.simplify import simplify
from graphrt.passes.sparse_gradients import pooled_masks


def matrix(label: str, kind: str = "data", shape: tuple[int, ...] = (4, 3)) -> Node:
    return input_node(label, TensorType(shape, float32), kind)


def mean_of_softmax() -> Graph:
    x = matrix("x")
    with source_scope(Source("net.py", 7, "net.head")):
        return Graph((x,), (build.reduce_mean(build.softmax(x), 0),), {}, "head")


def constants() -> Graph:
    x = matrix("x", shape=(1000, 100))
    scale = build.sqrt(build.mul(build.constant(2.0), build.constant(8.0)))
    table = build.transpose(build.constant([[1.0, 2.0], [3.0, 4.0]]))
    large = build.mul(build.iota((1000, 100), 0, float32), build.constant(3.0))
    return Graph((x,), (build.mul(x, scale), table, large), {}, "constants")


def views_and_numbers() -> Graph:
    x = matrix("x")
    there_and_back = build.transpose(build.transpose(x))
    quarter = build.div(there_and_back, 4.0)
    column = build.reduce_sum(build.mul(quarter, 1.0), 1, keepdims=True)
    spread = build.mul(build.broadcast_to(column, (4, 3)), build.sqrt(build.full((4, 3), 9.0)))
    return Graph(
        (x,), (build.sub(spread, build.neg(x)), build.reshape(build.reshape(x, (12,)), (2, 6))), {}, "views"
    )


def duplicates() -> Graph:
    x, y = matrix("x"), matrix("y")
    with source_scope(Source("net.py", 1)):
        first = build.exp(build.add(x, y))
    with source_scope(Source("net.py", 2)):
        second = build.exp(build.add(y, x))
        third = build.sub(y, x)
    return Graph((x, y), (build.mul(first, second), build.sub(x, y), third), {}, "duplicates")


def dead() -> Graph:
    x, used, unused, kept = matrix("unread"), *(matrix(n, "state") for n in ("used", "unused", "kept"))
    return Graph((x, used, unused, kept), (used,), {used: build.neg(used), kept: kept}, "dead")


def pooled_gradient() -> Graph:
    x, g = matrix("x", shape=(2, 3, 8, 8)), matrix("g", shape=(2, 3, 4, 4))
    with source_scope(Source("net.py", 3, "net.pool")):
        y = build.relu(x)
        position = apply(WindowArgMax((2, 2), (2, 2)), y)
        dy = apply(WindowScatter(x.shape, (2, 2), (2, 2)), g, position)
        dx = build.where(build.greater(y, 0.0), dy, 0.0)
    return Graph((x, g), (dx,), {}, "pooled")


def training_step() -> Graph:
    x, w = matrix("x", shape=(8, 3)), matrix("w", "state", (3, 2))
    labels = input_node("labels", TensorType((8,), int32))
    with source_scope(Source("net.py", 5, "net.fc")):
        logits = build.matmul(x, w)
    with source_scope(Source("net.py", 9, "loss")):
        loss = build.reduce_sum(build.softmax_cross_entropy_sparse(logits, labels))
    step = Graph((x, labels, w), (loss,), {}, "step")
    return append_updates(
        step, [w], lambda ws, gs: {p: build.sub(p, build.mul(g, 0.5)) for p, g in zip(ws, gs)}
    )


@pytest.mark.parametrize(
    ("name", "make", "apply_pass"),
    [
        ("expand_composites", mean_of_softmax, expand_composites),
        ("fold_constants", constants, fold_constants),
        ("simplify", views_and_numbers, simplify),
        ("pooled_masks", pooled_gradient, pooled_masks),
        ("merge_duplicates", duplicates, merge_duplicates),
        ("remove_dead", dead, remove_dead),
    ],
)
def test_pass(
    name: str,
    make: Callable[[], Graph],
    apply_pass: Callable[[Graph], Graph],
    golden: Callable[[str, str], None],
) -> None:
    before = make()
    after = apply_pass(before)
    verify(after, name)
    golden(name, f"-- before\n{to_text(before)}-- after {name}\n{to_text(after)}")


def test_append_updates(golden: Callable[[str, str], None]) -> None:
    graph = training_step()
    verify(graph)
    golden("append_updates", to_text(graph))
