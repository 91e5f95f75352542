"""Elementwise sweeps and views: every walk over the domain gives the reference's result."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from differential import mismatch

from graphrt.dtypes import bool_, float32, int32, uint32
from graphrt.ir import Graph, TensorType, apply, input_node
from graphrt.kernels.pointwise import walks
from graphrt.loops.index import iterate
from graphrt.ops import build
from graphrt.ops.windows import WindowArgMax, WindowGather, WindowScatter, WindowSpread


def whole_numbers(graph: Graph) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {n.op.label: generator.integers(0, 9, n.shape).astype(n.dtype.numpy) for n in graph.inputs}


def assert_native(graph: Graph) -> None:
    for threads in (1, 2):
        reason = mismatch(graph, whole_numbers(graph), exact=True, threads=threads, poison=True)
        assert reason is None, f"{threads} threads: {reason}\n{graph}"


@pytest.mark.parametrize("domain", [(), (5,), (3, 4), (2, 3, 5)], ids=str)
def test_every_walk_visits_every_element_once(domain: tuple[int, ...]) -> None:
    for order in itertools.permutations(range(len(domain))):
        for walk in walks(domain, order):
            assert 0 <= walk.vector < len(walk.extents)
            visited = [
                tuple(int(i.constant) for i in walk.index(domain, [_constant(k) for k in at]))
                for at in iterate(walk.extents)
            ]
            assert len(visited) == math.prod(domain)
            assert sorted(visited) == sorted(iterate(domain))


def _constant(value: int):
    from graphrt.loops.index import as_index

    return as_index(value)


@pytest.mark.parametrize(
    "shape", [(), (1,), (15,), (16,), (17,), (3, 5), (5, 16), (17, 33), (2, 3, 17), (4, 1, 1, 7), (1, 100, 1)], ids=str
)  # fmt: skip
def test_sweeps_with_broadcasts(shape: tuple[int, ...]) -> None:
    x = input_node("x", TensorType(shape, float32))
    inputs, outputs = [x], [build.add(x, 1.0), build.mul(build.relu(x), x)]
    for axis in range(len(shape)):  # a vector along each axis
        one = tuple(e if k == axis else 1 for k, e in enumerate(shape))
        inputs.append(input_node(f"v{axis}", TensorType(one, float32)))
        outputs.append(build.sub(x, inputs[-1]))
    assert_native(Graph(tuple(inputs), tuple(outputs), {}, "sweep"))


@pytest.mark.parametrize("shape", [(17, 33), (16, 16), (3, 5, 17), (2, 3, 4, 5)], ids=str)
def test_every_permutation(shape: tuple[int, ...]) -> None:
    x = input_node("x", TensorType(shape, float32))
    outputs = [build.add(build.transpose(x, p), 1.0) for p in itertools.permutations(range(len(shape)))]
    assert_native(Graph((x,), tuple(outputs), {}, "permutations"))


def test_views_of_views() -> None:
    x = input_node("x", TensorType((6, 35), float32))
    outputs = (
        build.reshape(build.transpose(x), (6, 5, 7)),
        build.reverse(build.reshape(x, (14, 15)), (0, 1)),
        build.pad_interior(x, (1, 0), (0, 2), (1, 0)),
        build.pad_interior(build.transpose(x), (0, 3), (2, 0), (0, 2), 5.0),
        build.concat([x, build.reverse(x, 1), build.add(x, 1.0)], 1),
        build.concat([build.transpose(x), build.reshape(x, (35, 6))], 0),
        build.getitem(x, (slice(1, 6, 2), slice(None, None, 3))),
        build.iota((5, 18), 1, int32),
    )
    assert_native(Graph((x,), outputs, {}, "views"))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather_along_every_axis(axis: int) -> None:
    x = input_node("x", TensorType((5, 6, 17), float32))
    rows = input_node("rows", TensorType((19,), int32))
    table = input_node("table", TensorType((2, 3), int32))
    outputs = (build.gather(x, rows, axis), build.gather(build.add(x, 1.0), table, axis))
    assert_native(Graph((x, rows, table), outputs, {}, "gather"))


@pytest.mark.parametrize("width", [4, 16, 21])
@pytest.mark.parametrize(
    "settings",
    [((2, 2), (2, 2), (0, 0, 0, 0)), ((3, 3), (1, 1), (1, 1, 1, 1)), ((3, 2), (2, 3), (1, 0, 0, 1))],
    ids=str,
)
def test_windows(width: int, settings: tuple) -> None:
    x = input_node("x", TensorType((2, 3, 9, width), float32))
    position = apply(WindowArgMax(*settings), x)
    taken = apply(WindowGather(*settings), x, position)
    outputs = (
        position, taken, apply(WindowScatter(x.shape, *settings), taken, position),
        apply(WindowSpread(x.shape, *settings), taken),
    )  # fmt: skip
    assert_native(Graph((x,), outputs, {}, "windows"))


def test_masks_and_bits() -> None:
    flags = input_node("flags", TensorType((5, 17), bool_))
    key = input_node("key", TensorType((2,), uint32))
    x = input_node("x", TensorType((5, 17), float32))
    outputs = (
        build.where(flags, x, build.neg(x)), build.logical_not(flags), build.cast(flags, float32),
        build.logical_and(flags, build.greater(x, 2.0)), build.random_bits(key, (5, 17)), build.dropout(x, 0.5, key),
        build.transpose(flags),
    )  # fmt: skip
    assert_native(Graph((flags, key, x), outputs, {}, "masks"))


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 17)], ids=str)
def test_nothing_to_do(shape: tuple[int, ...]) -> None:
    x = input_node("x", TensorType(shape, float32))
    assert_native(Graph((x,), (build.add(x, 1.0), build.transpose(x)), {}, "empty"))
