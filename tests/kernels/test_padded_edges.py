"""Products with padded columns are left out: the first and the last column have code of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from differential import mismatch
from schedule.networks import LANES, scheduled

from graphrt.dtypes import float32
from graphrt.ir import Graph, TensorType, apply, input_node
from graphrt.kernels.build import build_kernel
from graphrt.loops import ir
from graphrt.ops import build
from graphrt.ops.contractions import Conv2d, Conv2dBackwardInput, Conv2dBackwardWeight
from graphrt.passes.differentiate import gradients

COLUMNS = (0, 0, 1, 1)


def graph(op, *shapes: tuple[int, ...]) -> Graph:
    operands = [input_node(f"x{k}", TensorType(shape, float32)) for k, shape in enumerate(shapes)]
    inner = [build.mul(x, 2.0) if x.shape[0] == 128 else x for x in operands]  # stored with samples in lanes
    return Graph(tuple(operands), (build.mul(apply(op, *inner), 0.5),), {}, "padded")


def executed(body: Sequence[ir.Statement]) -> int:
    """How many vector multiply-adds run."""
    total = 0
    for statement in body:
        if isinstance(statement, ir.Loop):
            assert not statement.low and not statement.high
            total += executed(statement.body) * (1 if statement.kind == "vector" else statement.var.extent)
        elif isinstance(statement, ir.Assign):
            total += isinstance(statement.value, ir.Fma)
    return total


def multiply_adds(given: Graph) -> dict[str, list[int]]:
    """Those of every convolution."""
    plan = scheduled(given)
    found: dict[str, list[int]] = {}
    for group in plan.groups:
        if group.anchor is not None and group.anchor.op.name.startswith("conv2d"):
            kernel, _ = build_kernel(group, plan.slots, LANES, 1)
            found.setdefault(group.anchor.op.name, []).append(executed(kernel.body))
    return found


def real(image: tuple[int, ...], outputs: int) -> int:
    """The vector products of images with kernels of one row and three columns, without those with padding."""
    batch, channels, rows, columns = image
    return math.ceil(batch / LANES) * outputs * channels * rows * (3 * columns - 2)


IMAGE = (128, 16, 2, 16)
PROGRAMS = {
    "forward": graph(Conv2d(padding=COLUMNS), IMAGE, (6, 16, 1, 3)),
    "image": graph(Conv2dBackwardInput((128, 24, 2, 16), padding=COLUMNS), (128, 16, 2, 16), (16, 24, 1, 3)),
    "weight": graph(
        Conv2dBackwardWeight((16, 64, 3, 3), padding=COLUMNS), (128, 64, 4, 16), (128, 16, 2, 16)
    ),
}


def test_only_products_with_pixels_run() -> None:
    """Two layers: two results, the gradient of the image between, two weight gradients."""
    x = input_node("x", TensorType((128, 16, 8, 8), float32))
    w1, w2 = (input_node(name, TensorType((16, 16, 1, 3), float32), "state") for name in ("w1", "w2"))
    y = apply(Conv2d(padding=COLUMNS), build.relu(apply(Conv2d(padding=COLUMNS), x, w1)), w2)
    loss = build.reduce_sum(build.square(y))
    dw1, dw2 = gradients([loss], [w1, w2])
    step = Graph((x, w1, w2), (loss,), {w1: build.sub(w1, dw1), w2: build.sub(w2, dw2)}, "step")
    each = real((128, 16, 8, 8), 16)
    assert multiply_adds(step) == {"conv2d": [each] * 3, "conv2d_backward_weight_lanes": [each] * 2}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("threads", [1, 3])
def test_results_are_those_of_the_interpreter(name: str, threads: int) -> None:
    given = PROGRAMS[name]
    random = np.random.default_rng(1)
    values = {n.op.label: random.integers(-4, 5, n.shape).astype(np.float32) for n in given.inputs}
    reason = mismatch(given, values, exact=True, threads=threads)
    assert reason is None, reason


def test_wide_images_are_one_loop() -> None:
    """Few of the products are with padding: code for the edges would not pay."""
    image = (16, 4, 2, 224)
    dense = graph(Conv2d(padding=COLUMNS), image, (6, 4, 1, 3))
    assert multiply_adds(dense) == {"conv2d": [6 * 4 * 2 * 224 * 3]}
