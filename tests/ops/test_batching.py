"""Batching rules: the op applied to all samples at once equals the op applied to each sample, stacked."""

from __future__ import annotations

import numpy as np
import pytest

from graphrt.dtypes import float32
from graphrt.errors import VerifyError
from graphrt.ir import TensorType, apply, input_node
from graphrt.ir.interpret import evaluate
from graphrt.ops import build
from graphrt.ops.batching import batch_nodes

from .cases import CASES, Case
from .test_cases import TOLERANCE

SIZE = 3
NATIVE = ("float32", "float64", "int32", "int64", "uint32", "bool")
ROWS = [
    pytest.param(case, which, id=f"{case.name}-{which}")
    for case in CASES
    if case.operands
    for which in ([*range(len(case.operands)), "all"] if len(case.operands) > 1 else ["all"])
]


def draw(case: Case, dtype: str, sample: int) -> list[np.ndarray]:
    rng = np.random.default_rng([sample, *map(ord, case.name)])
    return [operand.draw(dtype, rng) for operand in case.operands]


@pytest.mark.parametrize(("case", "which"), ROWS)
def test_batched_result_is_the_stack_of_results(case: Case, which):
    dtype = case.types[0]
    chosen = [which in (k, "all") for k in range(len(case.operands))]
    samples = [draw(case, dtype, number) for number in range(SIZE)]
    for operands in samples:  # what is not batched is one for all
        operands[:] = [own if has else first for own, first, has in zip(operands, samples[0], chosen)]

    inputs, values, marked = [], {}, {}
    for k, type in enumerate(case.operand_types(dtype)):
        inputs.append(input_node(f"x{k}", type))
        values[inputs[-1]] = samples[0][k]
        if chosen[k]:
            together = input_node(f"all{k}", TensorType((SIZE, *type.shape), type.dtype))
            marked[inputs[-1]] = together
            values[together] = np.stack([operands[k] for operands in samples])
    y = apply(case.op, *inputs)
    (result,) = evaluate(batch_nodes([y], SIZE, marked), values)
    expected = np.stack([case.op.evaluate(*operands) for operands in samples])
    assert result.shape == expected.shape and result.dtype == expected.dtype
    if case.exact or expected.dtype.kind in "iub":
        np.testing.assert_array_equal(result, expected)
    else:
        tolerance = 2 * TOLERANCE[expected.dtype.name]
        wide = np.float64
        np.testing.assert_allclose(result.astype(wide), expected.astype(wide), rtol=tolerance, atol=tolerance)


def test_what_no_sample_changes_stays_single():
    x, w = input_node("x", TensorType((4,), float32)), input_node("w", TensorType((4,), float32))
    shared = build.exp(w)
    together = input_node("all", TensorType((SIZE, 4), float32))
    single, product = batch_nodes([shared, build.mul(x, shared)], SIZE, {x: together})
    assert single is shared and product.shape == (SIZE, 4)


def test_sources_are_kept():
    from graphrt.ir import Source, source_scope

    with source_scope(Source("net.py", 7)):
        x = input_node("x", TensorType((4,), float32))
        y = build.exp(x)
    (result,) = batch_nodes([y], SIZE, {x: input_node("all", TensorType((SIZE, 4), float32))})
    assert result.source == Source("net.py", 7)


def test_wrong_rule_is_named(monkeypatch):
    from graphrt.ops.elementwise import Exp

    monkeypatch.setattr(Exp, "batch", lambda self, size, x, batched: build.reduce_sum(x[0]))
    x = input_node("x", TensorType((4,), float32))
    with pytest.raises(VerifyError, match=r"(?s)exp: the batching rule.*float32\[3, 4\]"):
        batch_nodes([build.exp(x)], SIZE, {x: input_node("all", TensorType((SIZE, 4), float32))})


def test_native_code_of_every_rule():
    """One case per op, all operands batched, in one native program."""
    from graphrt.compiler import compile_graph
    from graphrt.ir import Graph

    latest = {case.op.name: case for case in CASES if case.operands and case.types[0] in NATIVE}
    inputs, arrays, outputs, expected = [], [], [], []
    for case in latest.values():
        samples = [draw(case, case.types[0], number) for number in range(SIZE)]
        own = [input_node(f"x{k}", type) for k, type in enumerate(case.operand_types(case.types[0]))]
        marked = {}
        for k, node in enumerate(own):
            marked[node] = input_node(f"all{len(inputs)}", TensorType((SIZE, *node.shape), node.dtype))
            inputs.append(marked[node])
            arrays.append(np.stack([operands[k] for operands in samples]))
        outputs += batch_nodes([apply(case.op, *own)], SIZE, marked)
        expected.append((case, np.stack([case.op.evaluate(*operands) for operands in samples])))
    assert len(latest) > 60
    results = compile_graph(Graph(tuple(inputs), tuple(outputs)))(*arrays)
    for result, (case, wanted) in zip(results, expected, strict=True):
        assert result.dtype == wanted.dtype and result.shape == wanted.shape
        np.testing.assert_allclose(result, wanted, rtol=5e-5, atol=5e-5, err_msg=case.name)


def test_composites_without_a_rule_batch_their_expansion():
    from graphrt.ops.attention import ScaledDotProductAttention
    from graphrt.ops.base import CompositeOp

    rng = np.random.default_rng(0)
    op = ScaledDotProductAttention(True, 0.5)
    nodes = [
        input_node(f"x{k}", TensorType((*lead, 5, 4), float32))
        for k, lead in enumerate(((SIZE,), (), (SIZE,)))
    ]
    result = CompositeOp.batch(op, SIZE, nodes, [True, False, True])
    values = {node: rng.standard_normal(node.shape).astype(np.float32) for node in nodes}
    query, key, value = values.values()
    expected = np.stack([op.evaluate(query[k], key, value[k]) for k in range(SIZE)])
    np.testing.assert_allclose(evaluate([result], values)[0], expected, rtol=1e-5, atol=1e-6)
