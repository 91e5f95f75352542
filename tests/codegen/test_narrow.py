"""Conversions to 16-bit floats, bit for bit, on processors with and without instructions for them."""

import itertools

import assembly
import ml_dtypes
import numpy as np
import pytest

from graphrt import compiler, ir
from graphrt.codegen import jit
from graphrt.codegen.target import target
from graphrt.dtypes import ALL, as_dtype
from graphrt.ir.interpret import evaluate
from graphrt.ops.elementwise import Cast
from graphrt.runtime import program


def cast(source, result, count):
    x = ir.Node(ir.Input("x", "data"), (), ir.TensorType((count,), as_dtype(source)))
    return ir.Graph((x,), (ir.apply(Cast(as_dtype(result)), x),), {}, "cast")


def awkward() -> np.ndarray:
    """Values of every size: ties of both formats, their neighbours in float64, subnormals, overflow, infinities, NaN."""
    generator = np.random.default_rng(3)
    bits = np.concatenate([generator.integers(0, 2**16, 3000), np.arange(0, 2**16, 97)]).astype(np.uint16)
    values = []
    for dtype in (np.float16, ml_dtypes.bfloat16):
        exact = bits.view(dtype)
        with np.errstate(all="ignore"):
            below, above = exact.astype(np.float64), (bits + np.uint16(1)).view(dtype).astype(np.float64)
            tie = below / 2 + above / 2
            values += [below, tie, np.nextafter(tie, np.inf), np.nextafter(tie, -np.inf)]
    values.append(
        np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 65519.99999, 65520.0, 1e-300, -1e300, 3.4e38, 3.5e38])
    )
    return np.concatenate(values)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    nan = np.isnan(a.astype(np.float64))
    return bool(
        (nan == np.isnan(b.astype(np.float64))).all() and (a.view(np.uint16) == b.view(np.uint16))[~nan].all()
    )


@pytest.mark.parametrize("processor", ["host", "haswell"])
@pytest.mark.parametrize("source", ["float32", "float64"])
@pytest.mark.parametrize("result", ["float16", "bfloat16"])
def test_rounding_is_to_nearest_even(processor, source, result, monkeypatch):
    if not target(processor).is_host_compatible:
        pytest.skip(f"this machine cannot run code for {processor}")
    monkeypatch.setenv("GRAPHRT_TARGET", processor)
    with np.errstate(all="ignore"):
        values = awkward().astype(source)
        graph = cast(source, result, len(values))
        expected = values.astype(as_dtype(result).numpy)
        assert same(compiler.compile_graph(graph)(values)[0], expected)
        np.testing.assert_array_equal(
            evaluate(graph.outputs, {graph.inputs[0]: values})[0].view(np.uint16),
            expected.view(np.uint16),
        )


@pytest.mark.parametrize("processor", ["host", "haswell", "neoverse-n1"])
def test_no_conversion_calls_a_library(processor, monkeypatch):
    """Nor does a copy, which is what some of them are."""
    monkeypatch.setenv("GRAPHRT_TARGET", processor)
    chosen = target(processor)
    for source, result in itertools.permutations(ALL, 2):
        step = compiler.lower(compiler.optimize(cast(source, result, 37)))
        code = jit.assembly(program.once_text(step, chosen), chosen)
        assert assembly.external_symbols(code) <= {"syscall"}, (source, result)
