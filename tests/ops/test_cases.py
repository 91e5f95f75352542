"""Every op against its own rules: shape, gradient, expansion, lowering, native code, text."""

from __future__ import annotations

import numpy as np
import pytest

from graphrt.errors import CompileError
from graphrt.ir import REGISTRY, Graph, apply, input_node
from graphrt.ir.interpret import evaluate
from graphrt.ops import build
from graphrt.ops.base import CompositeOp, TiledProductOp
from graphrt.passes.differentiate import gradients

from .cases import CASES, Case
from .scalar_builder import by_rule

ALL = [pytest.param(case, dtype, id=f"{case.name}-{dtype}") for case in CASES for dtype in case.types]
DIFFERENTIABLE = [
    pytest.param(case, id=case.name) for case in CASES if case.gradient and "float64" in case.types
]
COMPOSITES = [p for p in ALL if isinstance(p.values[0].op, CompositeOp)]
# tiled products have no rule but their kernel, see tests/kernels/test_winograd.py
PRIMITIVES = [p for p in ALL if not isinstance(p.values[0].op, CompositeOp | TiledProductOp)]
# float16 contractions need conversion routines that object code cannot bind yet
NATIVE = [pytest.param(case, id=case.name) for case in CASES if set(case.types) - {"float16"}]

TOLERANCE = {"bfloat16": 2e-2, "float16": 2e-3, "float32": 2e-5, "float64": 1e-10}


def assert_same(actual: np.ndarray, expected: np.ndarray, exact: bool = False) -> None:
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    if exact or expected.dtype.kind in "iub":
        np.testing.assert_array_equal(actual, expected)
    else:
        tolerance = TOLERANCE[expected.dtype.name]
        wide = np.float64
        np.testing.assert_allclose(actual.astype(wide), expected.astype(wide), rtol=tolerance, atol=tolerance)


def nodes_of(case: Case, dtype: str):
    inputs = [input_node(f"x{k}", t) for k, t in enumerate(case.operand_types(dtype))]
    return inputs, apply(case.op, *inputs)


def test_every_registered_op_has_a_row():
    ours = {name for name, op in REGISTRY.items() if op.__module__.startswith("graphrt.") and name != "input"}
    assert ours - {case.op.name for case in CASES} == set()


@pytest.mark.parametrize(("case", "dtype"), ALL)
def test_shape_rule_tells_what_evaluate_returns(case: Case, dtype: str):
    expected = case.op.infer(*case.operand_types(dtype))
    result = case.op.evaluate(*case.draw(dtype))
    assert isinstance(result, np.ndarray)
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype.numpy)
    assert case.op.flops(*case.operand_types(dtype)) >= 0


@pytest.mark.parametrize(("case", "dtype"), ALL)
def test_evaluate_accepts_any_strides_and_leaves_operands_alone(case: Case, dtype: str):
    arrays = case.draw(dtype)
    strided = []
    for array in arrays:
        spread = np.zeros([2 * n for n in array.shape][::-1], array.dtype).transpose()
        every_second = (slice(None, None, 2),) * array.ndim
        view = spread[every_second] if every_second else spread
        view[...] = array
        strided.append(view)
    expected = case.op.evaluate(*arrays)
    assert_same(case.op.evaluate(*strided), expected)
    for array, original in zip(arrays, case.draw(dtype)):
        np.testing.assert_array_equal(array, original)


def check_directional(function, gradient, point, rng):
    """Central differences of a scalar function along random directions against its gradient."""
    step = 1e-5
    for _ in range(2):
        direction = [rng.standard_normal(p.shape) for p in point]
        ahead = function([p + step * d for p, d in zip(point, direction)])
        behind = function([p - step * d for p, d in zip(point, direction)])
        slope = sum(float((g * d).sum()) for g, d in zip(gradient, direction))
        scale = max(1.0, *(float(np.abs(g).max(initial=0)) for g in gradient))
        assert abs((ahead - behind) / (2 * step) - slope) < 2e-6 * scale * max(1, sum(p.size for p in point))


def weighted_sum(nodes, rng):
    total = None
    for node in nodes:
        part = build.reduce_sum(build.mul(node, rng.standard_normal(node.shape)))
        total = part if total is None else build.add(total, part)
    return total


@pytest.mark.parametrize("case", DIFFERENTIABLE)
def test_vjp_is_the_derivative_to_second_order(case: Case):
    rng = np.random.default_rng(5)
    inputs, y = nodes_of(case, "float64")
    arrays = case.draw("float64")
    values = dict(zip(inputs, arrays))
    active = [x for x in inputs if x.dtype.is_float]
    if not y.dtype.is_float:
        assert all(g is None for g in case.op.vjp(None, y, *inputs))
        return
    cotangent = build.constant(rng.standard_normal(y.shape))
    cotangents = case.op.vjp(cotangent, y, *inputs)
    assert len(cotangents) == len(inputs)
    for x, g in zip(inputs, cotangents):
        assert g is None or g.type == x.type
        assert g is not None or not x.dtype.is_float or case.op.name in ("sign",)

    def at(root, point):
        return float(evaluate([root], values | dict(zip(active, point)))[0])

    point = [values[x] for x in active]
    root = build.reduce_sum(build.mul(y, cotangent))
    for _ in range(2):
        derivative = gradients([root], active)
        check_directional(lambda p, root=root: at(root, p), evaluate(derivative, values), point, rng)
        root = weighted_sum(derivative, rng)


@pytest.mark.parametrize(("case", "dtype"), COMPOSITES)
def test_expansion_equals_composite(case: Case, dtype: str):
    inputs, y = nodes_of(case, dtype)
    expanded = case.op.expand(*inputs)
    assert expanded.type == y.type
    arrays = case.draw(dtype)
    assert_same(evaluate([expanded], dict(zip(inputs, arrays)))[0], case.op.evaluate(*arrays), case.exact)


@pytest.mark.parametrize(("case", "dtype"), PRIMITIVES)
def test_lowering_rule_describes_what_evaluate_computes(case: Case, dtype: str):
    arrays = case.draw(dtype)
    try:
        result = by_rule(case.op, case.operand_types(dtype), arrays)
    except CompileError:
        assert case.op.name == "constant" and not case.op.is_uniform()
        return
    assert result is not None
    assert_same(result, case.op.evaluate(*arrays), case.exact)


@pytest.mark.parametrize("case", NATIVE)
def test_native_code_equals_evaluate(case: Case):
    from graphrt.compiler import compile_graph

    inputs, outputs, arrays, expected = [], [], [], []
    for dtype in (
        d for d in case.types if d in ("float32", "float64", "int32", "int64", "uint8", "uint32", "bool")
    ):
        for operand_type, array in zip(case.operand_types(dtype), case.draw(dtype)):
            inputs.append(input_node(f"x{len(inputs)}", operand_type))
            arrays.append(array)
        count = len(case.operands)
        own, values = (inputs[-count:], arrays[-count:]) if count else ([], [])
        outputs.append(apply(case.op, *own))
        expected.append(case.op.evaluate(*values))
    executable = compile_graph(Graph(tuple(inputs), tuple(outputs)))
    for actual, wanted in zip(executable(*arrays), expected, strict=True):
        assert_same(actual, wanted, case.exact)


@pytest.mark.parametrize(("case", "dtype"), ALL)
def test_text_parses_back_to_an_equal_graph(case: Case, dtype: str):
    from graphrt.ir.text import parse, to_text

    inputs, y = nodes_of(case, dtype)
    graph = Graph(tuple(inputs), (y,))
    assert parse(to_text(graph)) == graph
