"""Max-pool in a convolution's epilogue, and its gradient selected in registers: what is one kernel, and that results are
those of the interpreter at every batch, size and number of threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from differential import mismatch

from graphrt import compiler
from graphrt.dtypes import float32
from graphrt.ir import Graph, Node, TensorType, input_node
from graphrt.kernels.contraction_plan import sums_over_windows, taps_over_windows, whole_row
from graphrt.ops import build
from graphrt.passes.differentiate import gradients
from graphrt.passes.pipeline import Processor, prepare
from graphrt.schedule.plan import Schedule, schedule


def tensor(label: str, *shape: int, kind: str = "data") -> Node:
    return input_node(label, TensorType(shape, float32), kind)


def layer(image: tuple[int, ...], outputs: int, kernel: int, pool: Callable[[Node], Node], padding: int = 0):
    """(x, w, b, the relu of the convolution, its pooled image)."""
    x = tensor("x", *image)
    w, b = tensor("w", outputs, image[1], kernel, kernel, kind="state"), tensor("b", outputs, kind="state")
    y = build.relu(build.add(build.conv2d(x, w, padding=padding), build.reshape(b, (1, outputs, 1, 1))))
    return x, w, b, y, pool(y)


def forward(image: tuple[int, ...], outputs: int = 5, kernel: int = 3, window=2, **pooling) -> Graph:
    """The pooled image goes into a padded convolution."""
    x, w, b, _, z = layer(image, outputs, kernel, lambda y: build.max_pool2d(y, window, **pooling))
    after = tensor("after", 2, outputs, 3, 3)
    return Graph((x, w, b, after), (build.conv2d(z, after, padding=1),), {}, "forward")


def step(
    image: tuple[int, ...], outputs: int = 5, kernel: int = 3, window=2, padding: int = 0, **pooling
) -> Graph:
    """Momentum on the weight, the bias in place, and the gradient of the image as a result."""
    x, w, b, _, z = layer(image, outputs, kernel, lambda y: build.max_pool2d(y, window, **pooling), padding)
    loss = build.reduce_sum(build.mul(z, build.sub(z, 3.0)))
    dx, dw, db = gradients([loss], [x, w, b])
    m = tensor("m", *w.shape, kind="state")
    new = build.add(build.mul(m, 0.5), dw)
    updates = {m: new, w: build.sub(w, build.mul(new, 0.25)), b: build.sub(b, db)}
    return Graph((x, w, b, m), (loss, dx), updates, "step")


def planned(graph: Graph, lanes: int = 16) -> Schedule:
    processor = Processor(
        whole_row(lanes),
        lanes,
        sum_windows=lambda *x: sums_over_windows(*x, lanes),
        look_up_taps=lambda *x: taps_over_windows(*x, lanes),
    )
    return schedule(prepare(compiler.optimize(graph), processor), lanes)


def kernels(graph: Graph) -> list[str]:
    return [group.lead.op.name for group in planned(graph).groups]


def small_numbers(graph: Graph) -> dict[str, np.ndarray]:
    """Few whole numbers: many ties, sums that are exact in every order."""
    random = np.random.default_rng(0)
    return {n.op.label: random.integers(-2, 3, n.shape).astype(np.float32) for n in graph.inputs}


def check(
    graph: Graph, values: dict[str, np.ndarray] | None = None, threads: tuple[int, ...] = (1, 3)
) -> None:
    for count in threads:
        reason = mismatch(graph, values or small_numbers(graph), exact=True, threads=count, poison=True)
        assert reason is None, f"{count} threads: {reason}"


def test_convolution_bias_activation_and_pool_are_one_kernel() -> None:
    graph = forward((32, 3, 10, 12))
    (group,) = (g for g in planned(graph).groups if g.window is not None)
    assert group.window == (2, 2) and group.domain == (32, 5, 4, 5)
    assert [n.op.name for n in group.stores] == ["window_gather"]
    assert kernels(graph) == ["copy", "conv2d", "conv2d"]


def test_a_training_step_stores_neither_the_activation_nor_its_gradient() -> None:
    slots = planned(step((32, 3, 10, 12))).slots
    full = [n for n, slot in slots.items() if n.shape == (32, 5, 8, 10) and slot.kind == "arena"]
    assert full == []


def readable_twice() -> Graph:
    x, w, b, y, z = layer((32, 3, 10, 10), 5, 3, lambda y: build.max_pool2d(y, 2))
    return Graph((x, w, b), (build.reduce_sum(z, (2, 3)), build.reduce_sum(y)), {}, "twice")


@pytest.mark.parametrize(
    "graph",
    [
        readable_twice(),
        forward((32, 3, 11, 11), window=3),  # nine accumulators for one result
        forward((32, 3, 11, 11), stride=1),  # windows that overlap
        forward((32, 3, 10, 10), padding=1),
        forward((1, 3, 10, 10)),  # lanes along the image's rows
    ],
    ids=["read elsewhere", "large", "overlapping", "padded", "no batch"],
)
def test_pools_that_stay_kernels_of_their_own(graph: Graph) -> None:
    assert all(group.window is None for group in planned(graph).groups)
    check(graph, threads=(2,))


@pytest.mark.parametrize("batch", [8, 16, 37])
@pytest.mark.parametrize(
    ("size", "window"), [((10, 12), 2), ((11, 13), 2), ((9, 10), (1, 2)), ((10, 7), (2, 1)), ((6, 9), (1, 4))], ids=str
)  # fmt: skip
def test_windows_of_every_form(batch: int, size: tuple[int, int], window) -> None:
    check(forward((batch, 2, *size), window=window), threads=(2,))


@pytest.mark.parametrize(
    ("image", "outputs", "kernel", "window", "padding"),
    [
        ((32, 1, 14, 14), 6, 5, 2, 0),
        ((37, 3, 9, 10), 4, 3, 2, 0),
        ((16, 3, 9, 9), 4, 3, 2, 1),
        ((16, 2, 12, 12), 3, 1, 2, 0),
        ((16, 2, 11, 11), 3, 3, 3, 0),
        ((8, 2, 10, 10), 17, 2, 2, 0),
        ((96, 3, 42, 42), 2, 3, 2, 0),  # operands beyond the cache: sums block by block
        ((16, 7, 9, 9), 5, 5, 2, 2),
        ((16, 1, 8, 9), 3, 4, 2, 0),  # taps in rows of ten, patches longer than what the kernel reaches
    ],
)
def test_training_steps_with_pooling(image, outputs: int, kernel: int, window: int, padding: int) -> None:
    graph = step(image, outputs, kernel, window, padding)
    names = kernels(graph)
    assert "window_patch_sum" in names
    # three rows of a window do not fit in a vector, and small kernels meet few zeros
    assert ("chosen_tap_sum" in names) == (window == 2 and kernel > 2)
    check(graph)


def test_overlapping_windows() -> None:
    graph = step((16, 2, 15, 15), 3, 5, (3, 3), stride=2)
    check(graph, threads=(2,))


def test_not_a_number_goes_the_same_way_through_windows() -> None:
    graph = forward((16, 1, 8, 8), kernel=1)
    values = small_numbers(graph)
    special = np.random.default_rng(3).choice([np.nan, np.inf, -np.inf, 1.0, -1.0], values["x"].shape)
    check(graph, {**values, "x": special.astype(np.float32), "w": np.ones_like(values["w"])}, threads=(2,))
