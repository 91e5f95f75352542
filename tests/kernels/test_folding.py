"""Sums along lanes folded together: the rounds of shuffles, tiles as runs of results, updates in their epilogue."""

from __future__ import annotations

import numpy as np
import pytest
from differential import mismatch

from graphrt.codegen.emit import fold_rounds
from graphrt.dtypes import float32
from graphrt.ir import Graph, Node, TensorType, input_node
from graphrt.kernels.build import build_kernel
from graphrt.kernels.folding import covers_run, runs
from graphrt.kernels.space import Point
from graphrt.loops import ir
from graphrt.loops.index import Var, as_index, replace
from graphrt.ops import build
from graphrt.schedule.plan import schedule


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_rounds_leave_the_sum_of_every_register_in_its_lane(lanes: int) -> None:
    values = list(np.random.default_rng(0).integers(-99, 99, (lanes, lanes)))
    expected = [row.sum() for row in values]
    for low, high in fold_rounds(lanes):
        assert sorted(low + high) == list(range(2 * lanes))  # every lane of both vectors once
        pairs = [np.concatenate(pair) for pair in zip(values[::2], values[1::2])]
        values = [pair[low] + pair[high] for pair in pairs]
    assert len(values) == 1 and list(values[0]) == expected


@pytest.mark.parametrize(
    ("tiles", "extents", "expected"),
    [
        ((1, 1, 3, 5), (6, 2, 5, 5), True),
        ((1, 1, 5, 3), (6, 2, 5, 5), False),
        ((4, 4), (64, 4), True),
        ((4, 2), (64, 4), False),
        ((1, 1), (3, 3), False),
        ((2,), (7,), True),
    ],
)
def test_which_tiles_are_runs(tiles, extents, expected: bool) -> None:
    assert covers_run(tiles, extents) is expected


@pytest.mark.parametrize(("sizes", "extents"), [((3, 5), (9, 5)), ((2, 3, 4), (4, 3, 4)), ((1, 7), (5, 20))])
def test_runs_name_every_point_of_the_tile_once(sizes, extents) -> None:
    corner = [as_index(Var("tile", 2)) * size for size in sizes]
    corner = [c if size < extent else as_index(0) for c, size, extent in zip(corner, sizes, extents)]
    place = Point({k: [corner[k] + j for j in range(size)] for k, size in enumerate(sizes)})
    points = place.combinations(range(len(sizes)))
    found = runs(place, extents, 4)
    assert found is not None
    named = []
    for run in found:
        assert run.first == len(named)
        for lane in range(run.count):
            named.append(tuple(replace(i, {run.lane: as_index(lane)}) for i in run.index))
    assert named == points


def adam(gradient: Node, w: Node, m: Node, v: Node) -> dict[Node, Node]:
    first = build.add(build.mul(m, 0.5), gradient)
    second = build.add(build.mul(v, 0.5), build.square(gradient))
    step = build.div(first, build.add(build.sqrt(second), 1e-3))
    return {m: first, v: second, w: build.sub(w, build.mul(step, 0.125))}


def tensor(label: str, *shape: int, kind: str = "data") -> Node:
    return input_node(label, TensorType(shape, float32), kind)


def short_weight(batch: int, rows: int, columns: int) -> Graph:
    """A weight gradient with a short last axis: sums along the samples, which lie in lanes of both layers' results."""
    z, a, b = tensor("z", batch, 20), tensor("a", 20, columns), tensor("b", columns, rows)
    x = build.relu(build.matmul(z, a))
    y = build.relu(build.matmul(x, b))
    gradient = build.matmul(build.transpose(y), x)
    states = [tensor(label, rows, columns, kind="state") for label in ("w", "m", "v")]
    return Graph((z, a, b, *states), (), adam(gradient, *states), "short")


def bias(batch: int, width: int) -> Graph:
    """The sum over samples in lanes, with an update."""
    x, a = tensor("x", batch, 20), tensor("a", 20, width)
    states = [tensor(label, width, kind="state") for label in ("w", "m", "v")]
    gradient = build.reduce_sum(build.relu(build.matmul(x, a)), 0)
    return Graph((x, a, *states), (), adam(gradient, *states), "bias")


def folds(graph: Graph) -> list[ir.FoldLanes]:
    planned = schedule(graph, 16)
    kernels = [build_kernel(group, planned.slots, 16, 1)[0] for group in planned.groups]
    return [s for k in kernels for s in ir.statements(k.body) if isinstance(s, ir.FoldLanes)]


def random_values(graph: Graph) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {n.op.label: np.abs(random.normal(size=n.shape)).astype(np.float32) for n in graph.inputs}


def check(graph: Graph) -> None:
    for threads in (1, 3):
        assert mismatch(graph, random_values(graph), exact=False, threads=threads, poison=True) is None


def test_short_weights_and_biases_are_folded_together() -> None:
    assert {len(f.registers) for f in folds(short_weight(32, 64, 4))} == {16}
    assert {len(f.registers) for f in folds(bias(32, 64))} == {16}


@pytest.mark.parametrize("batch", [16, 37])
@pytest.mark.parametrize(("rows", "columns"), [(64, 4), (19, 4), (33, 3), (5, 7)])
def test_short_weight_gradients(batch: int, rows: int, columns: int) -> None:
    check(short_weight(batch, rows, columns))


@pytest.mark.parametrize("batch", [16, 37])
@pytest.mark.parametrize("width", [4, 17, 40])
def test_bias_gradients(batch: int, width: int) -> None:
    check(bias(batch, width))


@pytest.mark.parametrize(
    "reduction", [build.reduce_sum, build.reduce_max, build.reduce_min, build.reduce_prod]
)
def test_every_way_of_combining(reduction) -> None:
    x, a = tensor("x", 37, 6), tensor("a", 6, 18)
    y = build.mul(build.matmul(x, a), 0.125)
    graph = Graph((x, a), (build.add(reduction(y, 0), 1.0),), {}, "combined")
    check(graph)
