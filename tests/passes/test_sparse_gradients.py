"""Gradients of max-pool: masks moved below the scattering, and weight gradients summed over windows."""

from __future__ import annotations

import numpy as np
import pytest

from graphrt.dtypes import as_dtype, float32, float64, int32
from graphrt.errors import DTypeError, ShapeError
from graphrt.ir import Graph, Node, TensorType, apply, input_node
from graphrt.ir.interpret import interpret
from graphrt.ir.verify import verify
from graphrt.kernels.contraction_plan import sums_over_windows, taps_over_windows
from graphrt.ops import build
from graphrt.ops.contractions import Conv2dBackwardInput, Conv2dBackwardWeight
from graphrt.ops.elementwise import Select
from graphrt.ops.patches import WindowPatches, WindowPatchSum
from graphrt.ops.taps import ChosenTaps, ChosenTapSum, TapRows
from graphrt.ops.windows import WindowArgMax, WindowScatter
from graphrt.passes import pipeline
from graphrt.passes.differentiate import gradients
from graphrt.passes.sparse_gradients import pooled_masks, window_sums, window_taps

POOLS = [
    ((2, 2), (2, 2), (0, 0, 0, 0)),
    ((3, 3), (2, 2), (0, 0, 0, 0)),
    ((3, 3), (2, 2), (1, 1, 1, 0)),
    ((2, 3), (3, 4), (0, 0, 0, 0)),
]


def tensor(label: str, *shape: int, dtype=float32) -> Node:
    return input_node(label, TensorType(shape, dtype))


def masked(pool, swap: bool = False, compare=build.greater, number: float = 0.0) -> Graph:
    """The gradient of relu over the gradient of max-pool."""
    window, strides, padding = pool
    search = WindowArgMax(window, strides, padding)
    x = tensor("x", 2, 3, 9, 11)
    g = tensor("g", *search.output_shape(x.shape))
    scattered = apply(WindowScatter(x.shape, window, strides, padding), g, apply(search, x))
    condition = compare(x, number)
    y = build.where(condition, 0.0, scattered) if swap else build.where(condition, scattered, 0.0)
    return Graph((x, g), (y,), {}, "masked")


def values_of(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {n.op.label: random.normal(size=n.shape).astype(n.dtype.numpy) for n in graph.inputs}


def ops(graph: Graph) -> list[str]:
    return [n.op.name for n in graph.nodes()]


@pytest.mark.parametrize("pool", POOLS, ids=str)
@pytest.mark.parametrize("swap", [False, True])
def test_masks_move_to_the_windows_and_change_no_bit(pool, swap: bool) -> None:
    graph = masked(pool, swap)
    after = pooled_masks(graph)
    verify(after)
    assert isinstance(after.outputs[0].op, WindowScatter)
    (choice,) = (n for n in after.nodes() if isinstance(n.op, Select))
    assert choice.shape == graph.inputs[1].shape
    values = values_of(graph)
    special = np.random.default_rng(1).choice([0.0, -0.0, np.nan, np.inf, -np.inf, 2.0], values["x"].shape)
    for x in (values["x"], special.astype(np.float32)):
        before_bits, after_bits = (interpret(g, {**values, "x": x})[0][0] for g in (graph, after))
        np.testing.assert_array_equal(before_bits.view(np.int32), after_bits.view(np.int32))


def test_masks_that_do_not_compare_numbers_stay() -> None:
    graph = masked(POOLS[0])
    x, g = graph.inputs
    flags = tensor("flags", *x.shape, dtype=as_dtype("bool"))
    scattered = apply(WindowScatter(x.shape, (2, 2), (2, 2)), g, apply(WindowArgMax((2, 2), (2, 2)), x))
    for y in (
        build.where(flags, scattered, 0.0),
        build.where(build.greater(x, 0.0), scattered, 1.0),
        build.where(build.greater(x, 0.0), scattered, -0.0),  # would turn every -0.0 into 0.0
    ):
        assert ops(pooled_masks(Graph((x, g, flags), (y,), {}, "other"))) == ops(
            Graph((x, g, flags), (y,), {}, "other")
        )


def weight_gradient(pool, kernel: int, channels=(2, 3), dtype=float64, size=(11, 13), **attributes) -> Graph:
    window, strides, padding = pool
    x = tensor("x", 4, channels[0], *size, dtype=dtype)
    weight_shape = (channels[1], channels[0] // attributes.get("groups", 1), kernel, kernel)
    op = Conv2dBackwardWeight(weight_shape, **attributes)
    image = (4, channels[1], *op._geometry(x.shape, weight_shape, x.type).output)
    search = WindowArgMax(window, strides, padding)
    y = tensor("y", *image, dtype=dtype)
    g = tensor("g", *search.output_shape(image), dtype=dtype)
    dy = apply(WindowScatter(image, window, strides, padding), g, apply(search, y))
    return Graph((x, y, g), (apply(op, x, dy),), {}, "weight")


@pytest.mark.parametrize("pool", [p for p in POOLS if not any(p[2])], ids=str)
@pytest.mark.parametrize("kernel", [1, 3])
def test_sums_over_windows_are_the_sums_over_pixels(pool, kernel: int) -> None:
    graph = weight_gradient(pool, kernel)
    after = window_sums(graph, lambda *_: True)
    verify(after)
    assert isinstance(after.outputs[0].op, WindowPatchSum) and "window_scatter" not in ops(after)
    values = values_of(graph)
    expected, found = (interpret(g, values)[0][0] for g in (graph, after))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


# Convolutions, and windows above them, whose gradients stay dense in both directions.
OTHERS = [
    (POOLS[2], {}),
    (POOLS[0], {"stride": (2, 2)}),
    (POOLS[0], {"dilation": (2, 2)}),
    (POOLS[0], {"groups": 2, "channels": (4, 6)}),
]


@pytest.mark.parametrize(("pool", "attributes"), [*OTHERS, (POOLS[0], {"padding": (1, 1, 1, 1)})], ids=str)
def test_other_weight_gradients_stay(pool, attributes) -> None:
    graph = weight_gradient(pool, 3, **attributes)
    assert ops(window_sums(graph, lambda *_: True)) == ops(graph)


def test_the_cost_model_decides() -> None:
    graph = weight_gradient(POOLS[0], 3)
    asked = []
    assert ops(window_sums(graph, lambda *x: asked.append(x) or False)) == ops(graph)
    assert asked == [(WindowPatches((2, 2), (2, 2), (3, 3)), graph.inputs[0].type)]


def test_selecting_pays_for_full_lanes_and_windows_that_do_not_overlap() -> None:
    image = TensorType((32, 6, 14, 14), float32)
    plain, overlapping = WindowPatches((2, 2), (2, 2), (5, 5)), WindowPatches((3, 3), (1, 1), (5, 5))
    assert sums_over_windows(plain, image, 16)
    assert not sums_over_windows(plain, TensorType((4, 6, 14, 14), float32), 16)
    assert not sums_over_windows(overlapping, image, 16)


def image_gradient(pool, kernel: int, channels=(2, 3), dtype=float64, size=(11, 13), **attributes) -> Graph:
    window, strides, padding = pool
    image = (4, channels[0], *size)
    weight_shape = (channels[1], channels[0] // attributes.get("groups", 1), kernel, kernel)
    op, w = Conv2dBackwardInput(image, **attributes), tensor("w", *weight_shape, dtype=dtype)
    output = (4, channels[1], *op._geometry(image, weight_shape, w.type).output)
    search = WindowArgMax(window, strides, padding)
    y, g = tensor("y", *output, dtype=dtype), tensor("g", *search.output_shape(output), dtype=dtype)
    dy = apply(WindowScatter(output, window, strides, padding), g, apply(search, y))
    return Graph((w, y, g), (apply(op, dy, w),), {}, "image")


@pytest.mark.parametrize("pool", [p for p in POOLS if not any(p[2])], ids=str)
@pytest.mark.parametrize(("kernel", "padding"), [(1, 0), (3, 0), (3, 1), (4, 2), (5, 0)])
def test_chosen_taps_are_backward_data(pool, kernel: int, padding: int) -> None:
    graph = image_gradient(pool, kernel, padding=(padding,) * 4)
    after = window_taps(graph, 16, lambda *_: True)
    verify(after)
    assert {"chosen_tap_sum"} <= set(ops(after)) and "window_scatter" not in ops(after)
    values = values_of(graph)
    expected, found = (interpret(g, values)[0][0] for g in (graph, after))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("pool", "attributes"), OTHERS, ids=str)
def test_other_image_gradients_stay(pool, attributes) -> None:
    graph = image_gradient(pool, 3, **attributes)
    assert ops(window_taps(graph, 16, lambda *_: True)) == ops(graph)


def test_looking_up_pays_for_full_lanes_and_taps_that_fit_in_a_vector() -> None:
    graph, asked = image_gradient(POOLS[0], 5), []
    assert ops(window_taps(graph, 16, lambda *x: asked.append(x) or False)) == ops(graph)
    assert asked == [(ChosenTaps((2, 2), (2, 2), (5, 5)), 4)]
    assert taps_over_windows(ChosenTaps((2, 2), (2, 2), (5, 5)), 32, 16)
    assert not taps_over_windows(ChosenTaps((2, 2), (2, 2), (5, 5)), 4, 16)  # idle lanes
    assert not taps_over_windows(ChosenTaps((2, 2), (2, 2), (5, 5)), 32, 8)  # two rows of seven
    assert not taps_over_windows(ChosenTaps((3, 3), (3, 3), (5, 5)), 32, 16)  # three rows of ten
    assert not taps_over_windows(ChosenTaps((2, 2), (1, 1), (3, 3)), 32, 16)  # windows overlap: few zeros
    assert not taps_over_windows(ChosenTaps((2, 2), (2, 2), (5, 5)), 32, 4)  # nothing to look up in


MESSAGES = [
    (
        TapRows((2, 2), 4, 8, 8), (TensorType((4, 1, 3, 3), float32),),
        """tap_rows: one section per row of the window
  expected: weights [O, C, KH, KW], at least 16 elements
  given:    float32[4, 1, 3, 3] and 8 elements""",
    ),
    (
        ChosenTaps((2, 2), (2, 2), (3, 3)), (TensorType((4, 1, 4, 16), float32), TensorType((2, 4, 3, 3), float32)),
        """chosen_taps: starts are int32
  expected: int32
  given:    float32[2, 4, 3, 3]""",
    ),
    (
        ChosenTaps((2, 2), (2, 2), (3, 3)), (TensorType((4, 1, 3, 16), float32), TensorType((2, 4, 3, 3), int32)),
        """chosen_taps: rows of taps for every output channel
  expected: rows [O, C, 4, 16 or more], starts [N, O, PH, PW]
  given:    float32[4, 1, 3, 16] and int32[2, 4, 3, 3]""",
    ),
    (
        ChosenTapSum((2, 2)),
        (TensorType((2, 4, 1, 3, 3, 4, 3), float32), TensorType((2, 4, 3, 3), float32)),
        """chosen_tap_sum: one gradient per window, patches in multiples of the strides (2, 2)
  expected: taps [N, O, C, PH, PW, I, J], g [N, O, PH, PW]
  given:    float32[2, 4, 1, 3, 3, 4, 3] and float32[2, 4, 3, 3]""",
    ),
    (
        ChosenTapSum((2, 2)),
        (TensorType((2, 4, 1, 3, 3, 4, 4), float32), TensorType((2, 4, 3, 3), float64)),
        """chosen_tap_sum: operands must have one element type
  expected: float32[2, 4, 1, 3, 3, 4, 4]
  given:    float64[2, 4, 3, 3]""",
    ),
    (
        WindowPatches((2, 2), (2, 2), (3, 3)), (TensorType((4, 1, 9, 9), float32), TensorType((4, 2, 4, 4), int32)),
        """window_patches: every window must lie in the image with the kernel at each of its pixels
  expected: positions [N, O, PH, PW] of windows (2, 2) with strides (2, 2), kernel (3, 3)
  given:    float32[4, 1, 9, 9] and int32[4, 2, 4, 4]""",
    ),
    (
        WindowPatches((2, 2), (2, 2), (3, 3)), (TensorType((4, 1, 9, 9), float32), TensorType((4, 2, 3, 3), float32)),
        """window_patches: positions are int32
  expected: int32
  given:    float32[4, 2, 3, 3]""",
    ),
    (
        WindowPatchSum(),
        (TensorType((4, 2, 1, 3, 3, 5, 5), float32), TensorType((4, 2, 5, 4), float32)),
        """window_patch_sum: one gradient per window
  expected: patches [N, O, C, KH, KW, PH, PW], g [N, O, PH, PW]
  given:    float32[4, 2, 1, 3, 3, 5, 5] and float32[4, 2, 5, 4]""",
    ),
    (
        WindowPatchSum(),
        (TensorType((4, 2, 1, 3, 3, 5, 5), float32), TensorType((4, 2, 5, 5), float64)),
        """window_patch_sum: operands must have one element type
  expected: float32[4, 2, 1, 3, 3, 5, 5]
  given:    float64[4, 2, 5, 5]""",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("op", "types", "message"), MESSAGES)
def test_messages(op, types, message: str) -> None:
    with pytest.raises((ShapeError, DTypeError)) as error:
        op.infer(*types)
    assert str(error.value) == message


def test_a_training_step_has_no_image_of_gradients() -> None:
    """conv, relu, max-pool: all that is left of the gradient's image are windows."""
    x = tensor("x", 32, 1, 12, 12)
    w = input_node("w", TensorType((4, 1, 3, 3), float32), "state")
    loss = build.reduce_sum(build.square(build.max_pool2d(build.relu(build.conv2d(x, w)), 2)))
    (dw,) = gradients([loss], [w])
    graph = pipeline.run(Graph((x, w), (loss,), {w: build.sub(w, dw)}, "step"))
    prepared = pipeline.prepare(graph, pipeline.Processor(sum_windows=lambda *x: sums_over_windows(*x, 16)))
    assert "window_scatter" not in ops(prepared) and "window_patch_sum" in ops(prepared)
    relu = next(n for n in prepared.nodes() if n.op.name == "relu")
    assert {n.op.name for n in prepared.users()[relu]} == {"window_arg_max", "window_gather"}
    assert int32 == next(n for n in prepared.nodes() if n.op.name == "window_arg_max").dtype
