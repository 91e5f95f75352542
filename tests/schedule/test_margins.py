"""Tensors read with zero padding are stored with their margin: no sweep pads them, and results stay the same."""

from __future__ import annotations

import numpy as np
import pytest
from differential import mismatch

from graphrt.ir import Graph, Node
from graphrt.ops import build
from graphrt.passes.append_updates import append_updates

from .networks import scheduled, sgd, state, tensor


def two_convolutions(batch: int, padding: int, stride: int = 1) -> Graph:
    """A training step whose hidden image is read with padding by a convolution, its gradient and a skip connection."""
    x, label = tensor("x", batch, 3, 9, 7), tensor("label", batch, 6, 9, 7)
    first, second = state("first", 6, 3, 3, 3), state("second", 6, 6, 2 * padding + 1, 2 * padding + 1)
    hidden = build.relu(build.conv2d(x, first, padding=(1, 1, 1, 1)))
    out = build.add(build.conv2d(hidden, second, padding=(padding,) * 4), hidden)
    loss = build.reduce_mean(build.square(build.sub(out, label)))
    graph = Graph((x, label, first, second), (loss,), {}, "margins")
    return append_updates(graph, [first, second], sgd)


def arena_layouts(graph: Graph, op: str) -> list:
    slots = scheduled(graph).slots
    return [s.layout for n, s in slots.items() if s.kind == "arena" and n.op.name == op]


def stored_pads(graph: Graph) -> list[Node]:
    return [n for group in scheduled(graph).groups for n in group.stores if n.op.name == "pad"]


def test_the_hidden_image_carries_the_margin_and_is_not_padded_again() -> None:
    graph = two_convolutions(32, 1)
    assert ((0, 0), (0, 0), (0, 0), (1, 1)) in [layout.margins for layout in arena_layouts(graph, "relu")]
    assert all(pad.inputs[0].is_input for pad in stored_pads(graph))  # the caller's image has no room for one


def test_row_major_images_are_padded_by_a_copy() -> None:
    graph = two_convolutions(3, 1)
    assert not any(layout.margins for layout in arena_layouts(graph, "relu"))
    assert any(not pad.inputs[0].is_input for pad in stored_pads(graph))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("batch", "padding"), [(32, 1), (32, 2), (37, 1), (16, 3), (3, 1)])
def test_steps_with_margins_equal_the_interpreter(batch: int, padding: int, threads: int) -> None:
    graph = two_convolutions(batch, padding)
    random = np.random.default_rng(padding)
    values = {n.op.label: (random.standard_normal(n.shape) * 0.5).astype(np.float32) for n in graph.inputs}
    assert mismatch(graph, values, exact=False, threads=threads, poison=True) is None
