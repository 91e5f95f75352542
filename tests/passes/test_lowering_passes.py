"""The passes between optimization and scheduling: padding made explicit, transposed products turned around."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph, random_values

from graphrt.dtypes import bfloat16, float32, float64, int32, uint8
from graphrt.ir import Graph, Node, Source, TensorType, apply, input_node, source_scope, topological_order
from graphrt.ir.interpret import interpret
from graphrt.ir.text import to_text
from graphrt.ir.verify import verify
from graphrt.ops import build
from graphrt.ops.contractions import Conv2d, Conv2dBackwardInput, Conv2dBackwardWeight
from graphrt.passes import pipeline
from graphrt.passes.explicit_padding import explicit_padding
from graphrt.passes.flat_batches import flat_batches
from graphrt.passes.lane_sums import lane_sums
from graphrt.passes.pair_products import pair_products
from graphrt.passes.transposed_products import swap_last, transposed_products
from graphrt.passes.winograd import winograd


class Always:
    """Winograd's algorithm wherever it is possible."""

    def pays(self, node: Node) -> bool:
        return True

    def images_per_part(self, images: int, pairs: int) -> int:
        return images // 2


PASSES = {
    "explicit_padding": explicit_padding,
    "flat_batches": flat_batches,
    "lane_sums": lambda graph: lane_sums(graph, 16),
    "pair_products": lambda graph: pair_products(graph, True),
    "transposed_products": transposed_products,
    "winograd": lambda graph: winograd(graph, Always()),
}


def tensor(label: str, *shape: int, kind: str = "data", dtype=float32) -> Node:
    return input_node(label, TensorType(shape, dtype), kind)


def padded_convolutions() -> Graph:
    x, w = tensor("x", 8, 3, 32, 32), tensor("w", 16, 3, 3, 3, kind="state")
    with source_scope(Source("net.py", 4, "net.conv")):
        y = build.conv2d(x, w, padding=1)
    padding = (1, 1, 1, 1)
    with source_scope(Source("net.py", 9, "loss")):
        dx = apply(Conv2dBackwardInput(x.shape, padding=padding), y, w)
        dw = apply(Conv2dBackwardWeight(w.shape, padding=padding), x, y)
    return Graph((x, w), (y, dx), {w: dw}, "padded")


def batch_of_images() -> tuple[Node, Node, Node]:
    """A column of gray images, indices, and what comes of scaling the images these choose: channels first."""
    column, indices = tensor("image", 100, 6, 4, 1, dtype=uint8), tensor("indices", 8, dtype=int32)
    x = build.div(build.sub(build.cast(build.gather(column, indices), float32), 0.5), 255.0)
    return column, indices, build.transpose(x, (0, 3, 1, 2))


def flattened_images() -> Graph:
    column, indices, x = batch_of_images()
    return Graph((column, indices), (build.neg(build.reshape(x, (8, 24))),), {}, "flat")


def large_gradients() -> Graph:
    """Of three weight gradients only the first has large operands and a batch that fills its lanes."""
    inputs, outputs = [], []
    for k, (batch, size) in enumerate(((32, 64), (33, 64), (32, 4))):
        x, dy = tensor(f"x{k}", batch, 2, size, size), tensor(f"dy{k}", batch, 3, size, size)
        inputs += [x, dy]
        outputs.append(apply(Conv2dBackwardWeight((3, 2, 1, 1)), x, dy))
    return Graph(tuple(inputs), tuple(outputs), {}, "gradients")


def half_products() -> Graph:
    """A dense layer in bfloat16, and a product too small to be worth packing for."""
    x, w, v = tensor("x", 64, 101), tensor("w", 32, 101, kind="state"), tensor("v", 101, 3)
    x, v = (build.cast(t, bfloat16) for t in (x, v))
    y = build.matmul(x, build.transpose(build.cast(w, bfloat16)))
    return Graph(
        tuple(n for n in topological_order((x, w, v)) if n.is_input), (y, build.matmul(x, v)), {}, "half"
    )


def transposed_gradient() -> Graph:
    x, g = tensor("x", 32, 40), tensor("g", 32, 12)
    w = tensor("w", 12, 40, kind="state")
    with source_scope(Source("net.py", 7, "net.dense")):
        dw = build.transpose(build.matmul(build.transpose(x), g))
    return Graph((x, g, w), (), {w: build.sub(w, dw)}, "gradient")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("explicit_padding", padded_convolutions),
        ("flat_batches", flattened_images),
        ("lane_sums", large_gradients),
        ("pair_products", half_products),
        ("transposed_products", transposed_gradient),
        ("winograd", padded_convolutions),
    ],
)
def test_golden(name: str, make: Callable[[], Graph], golden: Callable[[str, str], None]) -> None:
    before = make()
    after = PASSES[name](before)
    verify(after, name)
    golden(name, f"-- before\n{to_text(before)}-- after {name}\n{to_text(after)}")


# ---- properties ------------------------------------------------------------------------------------------------


def same_results(before: Graph, after: Graph, seed: int) -> None:
    """Equal values; the sign of a zero may differ where a product with padding is added."""
    values = random_values(before, seed, exact=True)
    for a, b in zip(interpret(before, values), interpret(after, values)):
        pairs = zip(a, b, strict=True) if isinstance(a, list) else ((a[k], b[k]) for k in a)
        for expected, found in pairs:
            assert expected.dtype == found.dtype and np.array_equal(expected, found), f"seed {seed}"


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("optimized", [False, True])
@given(seed=st.integers(0, 10**9))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_nothing_changes_a_result(name: str, optimized: bool, seed: int) -> None:
    graph = random_graph(seed, exact=True, dtype=float64, network=True)
    graph = pipeline.run(graph) if optimized else graph
    after = PASSES[name](graph)
    verify(after, name)
    same_results(graph, after, seed)


PADDINGS = st.tuples(*[st.integers(0, 4)] * 4)
PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)), kernel=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    stride=PAIRS, padding=PADDINGS, dilation=PAIRS, groups=st.sampled_from((1, 1, 2)),
)  # fmt: skip
@settings(max_examples=200, deadline=None, derandomize=True)
def test_every_convolution_with_its_gradients(size, kernel, stride, padding, dilation, groups) -> None:
    reach = [(kernel[k] - 1) * dilation[k] + 1 for k in range(2)]
    if any(size[k] + padding[2 * k] + padding[2 * k + 1] < reach[k] for k in range(2)):
        return
    x = tensor("x", 2, 2 * groups, *size, dtype=float64)
    w = tensor("w", 3 * groups, 2, *kernel, dtype=float64)
    settings_ = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    y = apply(Conv2d(**settings_), x, w)
    dy = tensor("dy", *y.shape, dtype=float64)
    outputs = (
        y, apply(Conv2dBackwardInput(x.shape, **settings_), dy, w), apply(Conv2dBackwardWeight(w.shape, **settings_), x, dy),
    )  # fmt: skip
    graph = Graph((x, w, dy), outputs, {}, "convolution")
    for whole_row in (0, 16):
        after = explicit_padding(graph, whole_row)
        verify(after, "explicit_padding")
        same_results(graph, after, 0)
        for node in after.nodes():
            if isinstance(node.op, Conv2d | Conv2dBackwardWeight):
                assert not any(node.op.padding[2:])  # padded rows are never visited
            if isinstance(node.op, Conv2dBackwardInput):
                assert groups > 1 or (whole_row and stride == (1, 1))


# ---- decisions -------------------------------------------------------------------------------------------------


def names(graph: Graph) -> list[str]:
    return [n.op.name for n in graph.nodes() if not n.is_input]


def test_convolutions_without_padding_stay_as_they_are() -> None:
    x, w = tensor("x", 2, 3, 9, 9), tensor("w", 4, 3, 3, 3)
    graph = Graph((x, w), (build.conv2d(x, w, stride=2),), {}, "plain")
    assert explicit_padding(graph) == graph


@pytest.mark.parametrize(("size", "expected"), [(12, "conv2d_backward_input"), (100, "conv2d")])
def test_small_images_keep_backward_data_over_real_taps(size: int, expected: str) -> None:
    """For large images the padding costs little; for small ones it would be a good part of the work."""
    w, dy = tensor("w", 4, 3, 5, 5), tensor("dy", 2, 4, size - 4, size - 4)
    graph = Graph((dy, w), (apply(Conv2dBackwardInput((2, 3, size, size)), dy, w),), {}, "backward")
    assert names(explicit_padding(graph, whole_row=16))[-1] == expected


def product() -> tuple[Node, Node, Node]:
    x, y = tensor("x", 4, 3), tensor("y", 3, 5)
    return x, y, build.matmul(x, y)


def test_a_transposed_product_becomes_a_product_of_transposes() -> None:
    x, y, z = product()
    graph = transposed_products(Graph((x, y), (build.transpose(z),), {}, "t"))
    assert names(graph) == ["transpose", "transpose", "mat_mul"]


def test_transposes_of_transposes_disappear() -> None:
    x, y = tensor("x", 3, 4), tensor("y", 5, 3)
    z = build.matmul(build.transpose(x), build.transpose(y))
    graph = transposed_products(Graph((x, y), (build.transpose(z),), {}, "t"))
    (result,) = graph.outputs
    assert result.op.name == "mat_mul" and result.inputs == (y, x)
    assert swap_last(swap_last(x)) is x


def test_products_with_other_readers_stay() -> None:
    x, y, z = product()
    for outputs in ((build.transpose(z), z), (build.transpose(z), build.relu(z))):
        graph = Graph((x, y), outputs, {}, "t")
        assert transposed_products(graph) == graph


def test_other_permutations_stay() -> None:
    x, y = tensor("x", 2, 4, 3), tensor("y", 2, 3, 5)
    z = build.matmul(x, y)
    stays = Graph((x, y), (build.transpose(z, (1, 0, 2)),), {}, "t")
    assert transposed_products(stays) == stays
    turned = transposed_products(Graph((x, y), (build.transpose(z, (0, 2, 1)),), {}, "t"))
    assert turned.outputs[0].op.name == "mat_mul" and turned.outputs[0].shape == (2, 5, 4)


def test_only_batches_that_are_nothing_but_flat_are_gathered_flat() -> None:
    column, indices, x = batch_of_images()
    flat = build.neg(build.reshape(x, (8, 24)))
    for outputs in (
        (flat, build.reduce_sum(x, (1,))),  # somebody sees the images as such
        (build.neg(build.reshape(x, (4, 48))),),  # samples are joined
        (build.neg(build.reshape(build.transpose(x, (0, 1, 3, 2)), (8, 24))),),  # pixels change places
    ):
        graph = Graph((column, indices), outputs, {}, "images")
        assert flat_batches(graph) == graph
    assert flat_batches(Graph((column, indices), (flat,), {}, "flat")).nodes()[2].shape == (100, 24)


def test_both_keep_the_users_line() -> None:
    for name, make in (
        ("explicit_padding", padded_convolutions),
        ("transposed_products", transposed_gradient),
    ):
        lines = {str(n.source) for n in PASSES[name](make()).nodes() if n.op.name in ("pad", "mat_mul")}
        assert lines <= {"net.py:4 in net.conv", "net.py:9 in loss", "net.py:7 in net.dense"} and lines, name
