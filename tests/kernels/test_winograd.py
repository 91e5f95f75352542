"""Convolutions by Winograd's algorithm: native against direct sums in float64, in all three directions.

docs/performance.md says how the rounding errors compare with those of direct float32 sums.
"""

from __future__ import annotations

import numpy as np
import pytest
from differential import lowered, run_step

import graphrt
from graphrt import compiler
from graphrt.codegen.target import target
from graphrt.dtypes import float32
from graphrt.errors import ShapeError
from graphrt.ir import Graph, Node, TensorType, apply, input_node
from graphrt.kernels import winograd_plan
from graphrt.kernels.winograd_plan import Winograd
from graphrt.ops import build, winograd
from graphrt.ops.contractions import Conv2d, Conv2dBackwardInput, Conv2dBackwardWeight
from graphrt.passes import pipeline


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small convolutions too, so that compiling and running them is quick."""
    monkeypatch.setattr(Winograd, "pays", lambda self, node: True)


def tensor(label: str, *shape: int) -> Node:
    return input_node(label, TensorType(shape, float32))


def directions(images: int, channels: int, outputs: int, size: tuple[int, int], padding: int) -> Graph:
    """One convolution in all directions. The elementwise operations give the kernels operands of their own layout, a
    prologue and an epilogue."""
    x, w = tensor("x", images, channels, *size), tensor("w", outputs, channels, 3, 3)
    attributes = {"padding": (padding,) * 4}
    rows, columns = (extent + 2 * padding - 2 for extent in size)
    dy, b = tensor("dy", images, outputs, rows, columns), tensor("b", outputs)
    image, cotangent = build.mul(x, 2.0), build.mul(dy, 0.5)
    y = apply(Conv2d(**attributes), image, w)
    biased = build.relu(build.add(y, build.reshape(b, (1, outputs, 1, 1))))
    dx = apply(Conv2dBackwardInput(x.shape, **attributes), cotangent, w)
    dw = apply(Conv2dBackwardWeight(w.shape, **attributes), image, cotangent)
    return Graph((x, w, dy, b), (biased, build.add(dx, x), dw), {}, "directions")


def values(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {n.op.label: generator.standard_normal(n.shape).astype(np.float32) for n in graph.inputs}


def exact(arrays: dict[str, np.ndarray], padding: int) -> list[np.ndarray]:
    """The same by direct sums in float64."""
    x, w, dy, b = (arrays[k].astype(np.float64) for k in ("x", "w", "dy", "b"))
    attributes = {"padding": (padding,) * 4}
    y = Conv2d(**attributes).evaluate(2 * x, w) + b.reshape(1, -1, 1, 1)
    dx = Conv2dBackwardInput(x.shape, **attributes).evaluate(dy / 2, w)
    dw = Conv2dBackwardWeight(w.shape, **attributes).evaluate(2 * x, dy / 2)
    return [np.maximum(y, 0), dx + x, dw]


def native(graph: Graph, arrays: dict[str, np.ndarray], threads: int = 1) -> list[np.ndarray]:
    """Results with NaN in temporaries and scratch, and a check that nothing is written behind them."""
    with graphrt.set_context(convolution="winograd"):
        step = lowered(compiler.optimize(graph), threads)
    assert "winograd" in step.text and "mat_mul" in step.text and "_conv2d_backward" not in step.text
    return list(run_step(step, graph, arrays, threads=threads, poison=True).values())


def deviation(given: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(given - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize(
    "images, channels, outputs, size, padding",
    [
        (16, 4, 4, (8, 8), 1),
        (32, 17, 6, (16, 32), 1),  # more than one chunk, a channel beyond a vector
        (20, 3, 13, (7, 6), 1),  # tiles that stick out on both sides, a partly filled vector of images
        (35, 5, 9, (8, 18), 1),
        (2, 2, 3, (3, 3), 0),  # one result
        (16, 3, 2, (4, 5), 2),
    ],
)
def test_all_directions(images, channels, outputs, size, padding):
    graph = directions(images, channels, outputs, size, padding)
    arrays = values(graph)
    for given, expected in zip(native(graph, arrays), exact(arrays, padding), strict=True):
        assert deviation(given, expected) < 5e-6


def test_results_do_not_depend_on_the_number_of_threads():
    graph = directions(80, 6, 7, (12, 12), 1)
    arrays = values(graph)
    first = native(graph, arrays)
    for threads in (2, 3):
        for a, b in zip(first, native(graph, arrays, threads), strict=True):
            np.testing.assert_array_equal(a, b)


def test_parts_of_a_batch_that_does_not_fill_them(monkeypatch):
    """Five vectors of images in parts of two: the last part is half empty, or its last vector is."""
    monkeypatch.setattr(winograd_plan, "MAX_PARTS", 3)
    lanes = target().lanes
    for images in (5 * lanes, 5 * lanes - 3):
        assert Winograd(lanes).images_per_part(images, 12) == 2 * lanes
        graph = directions(images, 3, 4, (6, 6), 1)
        arrays = values(graph)
        assert deviation(native(graph, arrays)[2], exact(arrays, 1)[2]) < 5e-6


@pytest.mark.parametrize("images", [3, 16, 21])
def test_parts_of_any_number_of_images(images):
    """The op does not ask for whole vectors."""
    x, dy = tensor("x", 40, 3, 9, 6), tensor("dy", 40, 2, 7, 4)
    graph = Graph((x, dy), (apply(winograd.WinogradWeightProducts(images), x, dy),), {}, "products")
    arrays = values(graph)
    expected = graph.outputs[0].op.evaluate(arrays["x"].astype(np.float64), arrays["dy"].astype(np.float64))
    (given,) = run_step(lowered(graph), graph, arrays, poison=True).values()
    assert deviation(given, expected) < 2e-6


# ---- accuracy --------------------------------------------------------------------------------------------------


def ranges(name: str, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Operands that are hard on sums of differences."""
    noise = generator.standard_normal(shape)
    if name == "random":
        result = noise
    elif name == "offset":  # the transform takes differences of nearly equal numbers
        result = 100 + noise
    elif name == "wide":  # twelve orders of magnitude
        result = noise * 10 ** generator.uniform(-6, 6, shape)
    elif name == "alternating":  # largest entries of B^T, all with one sign
        rows, columns = np.indices(shape[2:])
        result = np.where((rows + columns) % 2, -1.0, 1.0) + 0.01 * noise
    else:
        assert name == "tiny"  # gradients of weights near the smallest normal number
        result = noise * 1e-17
    return result.astype(np.float32)


@pytest.mark.parametrize("name", ["random", "offset", "wide", "alternating", "tiny"])
def test_rounding_stays_small_for_difficult_operands(name):
    graph = directions(16, 32, 8, (12, 12), 1)
    generator = np.random.default_rng(3)
    arrays = {
        **{k: ranges(name, generator, graph_input.shape) for k, graph_input in
           ((n.op.label, n) for n in graph.inputs) if k in ("x", "dy")},
        "w": generator.standard_normal((8, 32, 3, 3)).astype(np.float32),
        "b": np.zeros(8, np.float32),
    }  # fmt: skip
    # The bound of both: sums of magnitudes times the rounding unit.
    magnitudes = exact({k: np.abs(a) for k, a in arrays.items()}, 1)
    results = zip(native(graph, arrays), exact(arrays, 1), magnitudes, strict=True)
    for direction, (given, expected, magnitude) in zip(("forward", "data", "weight"), results):
        unit = np.finfo(np.float32).eps / 2
        error = np.abs(given - expected) / (unit * magnitude.max())
        assert np.sqrt((error**2).mean()) < 3 and error.max() < 60, direction


def test_points_are_better_than_the_customary_ones():
    """Why the points are 3/4 and 3/2: the rounding error of 1 and 2 is about twice theirs."""
    x, w = np.random.default_rng(0).standard_normal((2, 16, 16, 22, 22)).astype(np.float32)
    w = w[:, :, :3, :3]
    expected = Conv2d().evaluate(x.astype(np.float64), w.astype(np.float64))

    def error(result: np.ndarray) -> float:
        return float(np.sqrt(((result - expected) ** 2).mean()))

    chosen = error(winograd.WinogradConv2d().evaluate(x, w))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "POINTS", (1, 2))
        customary = error(winograd.WinogradConv2d().evaluate(x, w))
    assert 1.5 < customary / chosen < 4
    assert 1.2 < chosen / error(Conv2d().evaluate(x, w)) < 6


# ---- matrices, ops, passes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("taps, results", [(3, 4), (4, 3)])
def test_the_matrices_compute_correlations(taps, results):
    """y[i] = sum over k of g[k] x[i + k], for every x and g, so for all unit vectors."""
    b, g, a = winograd.input_matrix(), winograd.weight_matrix(taps), winograd.output_matrix(results)
    for i, x in enumerate(np.eye(6)):
        for k, tap in enumerate(np.eye(taps)):
            expected = [float(i == row + k) for row in range(results)]
            np.testing.assert_allclose(a @ ((g @ tap) * (b @ x)), expected, atol=1e-13)


def test_weight_gradient_is_that_of_the_convolution():
    x, dy = np.random.default_rng(1).integers(-3, 4, (2, 21, 3, 10, 8)).astype(np.float32)
    dy = dy[:, :, :8, :6]
    nodes = tensor("x", *x.shape), tensor("dy", *dy.shape)
    graph = Graph(nodes, (winograd.weight_gradient(*nodes, 8),), {}, "gradient")
    from graphrt.ir.interpret import interpret

    (given,), _ = interpret(graph, {"x": x, "dy": dy})
    expected = Conv2dBackwardWeight((3, 3, 3, 3)).evaluate(x, dy)
    np.testing.assert_allclose(given, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def prepared(graph: Graph) -> list[str]:
    return [n.op.name for n in pipeline.prepare(graph, pipeline.Processor(16, winograd=Winograd(16))).nodes()]


@pytest.mark.parametrize(
    "kernel, attributes",
    [
        ((5, 5), {}),
        ((3, 3), {"stride": (2, 2)}),
        ((3, 3), {"dilation": (2, 2)}),
        ((3, 3), {"groups": 2}),
        ((1, 3), {}),
        ((3, 3), {"padding": (3, 3, 3, 3)}),
    ],
)
def test_other_convolutions_stay_direct(kernel, attributes):
    x = tensor("x", 16, 4, 12, 12)
    w = tensor("w", 4, 4 // attributes.get("groups", 1), *kernel)
    y = apply(Conv2d(**attributes), x, w)
    dx = apply(Conv2dBackwardInput(x.shape, **attributes), y, w)
    dw = apply(Conv2dBackwardWeight(w.shape, **attributes), x, y)
    assert not any("winograd" in name for name in prepared(Graph((x, w), (y, dx, dw), {}, "direct")))


def test_uneven_padding_is_no_hindrance():
    x, w = tensor("x", 16, 2, 9, 7), tensor("w", 3, 2, 3, 3)
    attributes = {"padding": (0, 2, 1, 0)}
    y = apply(Conv2d(**attributes), x, w)
    dx = apply(Conv2dBackwardInput(x.shape, **attributes), y, w)
    graph = Graph((x, w), (y, dx), {}, "uneven")
    assert prepared(graph).count("winograd_conv2d") == 2
    arrays = values(graph)
    wide = {k: a.astype(np.float64) for k, a in arrays.items()}
    first = Conv2d(**attributes).evaluate(wide["x"], wide["w"])
    expected = first, Conv2dBackwardInput(x.shape, **attributes).evaluate(first, wide["w"])
    with graphrt.set_context(convolution="winograd"):
        given = run_step(lowered(graph), graph, arrays, poison=True).values()
    for a, b in zip(given, expected, strict=True):
        assert deviation(a, b) < 5e-6


def test_shape_rules_name_what_is_wrong():
    x = tensor("x", 2, 3, 8, 8)
    with pytest.raises(ShapeError, match="winograd_conv2d: only 3x3 kernels with stride 1"):
        apply(winograd.WinogradConv2d(), x, tensor("w", 4, 3, 5, 5))
    with pytest.raises(ShapeError, match="only 3x3 kernels"):
        apply(winograd.WinogradConv2d(padding=(1, 1, 1, 1)), x, tensor("w", 4, 3, 3, 3))
    with pytest.raises(ShapeError, match="the cotangent must have the shape of the convolution's result"):
        apply(winograd.WinogradWeightProducts(2), x, tensor("dy", 2, 4, 8, 8))
    with pytest.raises(ShapeError, match="winograd_weight_products: unusable operands"):
        apply(winograd.WinogradWeightProducts(0), x, tensor("dy", 2, 4, 6, 6))


@pytest.mark.parametrize(
    "images, channels, outputs, size, expected",
    [
        (128, 64, 64, 8, True),
        (128, 16, 16, 32, True),
        (16, 16, 16, 32, True),
        (1, 64, 64, 32, False),  # nothing to share a vector with
        (128, 2, 2, 32, False),  # transforms cost more than the products save
        (128, 1024, 1024, 4, False),  # every thread would hold 150 MB of weights
        (128, 16, 16, 1, False),  # one result of a tile is needed
    ],
)
def test_when_it_pays(monkeypatch, images, channels, outputs, size, expected):
    monkeypatch.undo()
    x, w = tensor("x", images, channels, size, size), tensor("w", outputs, channels, 3, 3)
    y = apply(Conv2d(padding=(1, 1, 1, 1)), x, w)
    dx = apply(Conv2dBackwardInput(x.shape, padding=(1, 1, 1, 1)), y, w)
    dw = apply(Conv2dBackwardWeight(w.shape, padding=(1, 1, 1, 1)), x, y)
    assert [Winograd(16).pays(node) for node in (y, dx, dw)] == [expected] * 3


def test_parts_take_a_bounded_amount_of_memory():
    for pairs in (256, 4096, 65536):
        images = Winograd(16).images_per_part(512, pairs)
        parts = -(-512 // images)
        assert images % 16 == 0 and parts * pairs * 36 * 4 <= winograd_plan.PARTS_BYTES
    assert Winograd(16).images_per_part(512, 256) == 32
