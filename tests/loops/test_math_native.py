"""Expanded functions as machine code: the same bits as the NumPy oracle, and no call to anything."""

from __future__ import annotations

import ctypes
import re

import numpy as np
import pytest

from graphrt import dtypes
from graphrt.codegen import jit
from graphrt.codegen.emit import emit
from graphrt.codegen.target import target
from graphrt.loops import ir
from graphrt.loops import math as loop_math
from graphrt.loops.index import Var, as_index

from . import numpy_scalars

COUNT = 1 << 14


def expansion(name: str, operands: list[ir.Scalar]) -> ir.Scalar:
    is_binary = name in loop_math.BINARY_FUNCTIONS
    return loop_math.expand_binary(name, *operands) if is_binary else loop_math.expand(name, operands[0])


def module_text(name: str, dtype: dtypes.DType, lanes: int) -> str:
    """z = name(x, y) over COUNT elements, as a function `k` of three pointers."""
    buffers = tuple(ir.Buffer(label, dtype, COUNT) for label in "xyz")
    block, lane = Var("block", COUNT // lanes), Var("lane", lanes)
    address = as_index(block) * lanes + as_index(lane)
    value = expansion(name, [ir.Load(b, address) for b in buffers[:2]])
    loop = ir.Loop(block, [ir.Loop(lane, [ir.Store(buffers[2], address, value)], "vector")])
    body, declarations = emit(ir.Kernel("k", buffers, [loop], lanes))
    exported = body.replace("define internal", "define", 1)
    return "\n".join([exported, *sorted(declarations), "attributes #0 = { nounwind }", ""])


@pytest.mark.parametrize("name", [*loop_math.UNARY_FUNCTIONS, *loop_math.BINARY_FUNCTIONS])
@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float64])
def test_native_equals_oracle(name, dtype):
    host = target("host")
    text = module_text(name, dtype, max(1, host.lanes * 4 // dtype.size))
    rng = np.random.default_rng(4)
    patterns = [np.frombuffer(rng.bytes(COUNT // 2 * dtype.size), dtype.numpy) for _ in range(2)]
    x, y = (np.concatenate([p, (rng.normal(size=COUNT // 2) * 5).astype(dtype.numpy)]) for p in patterns)
    z = np.zeros(COUNT, dtype.numpy)
    loaded = jit.load([jit.compile_text(text, host).object_code], ["k"])
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int64)(
        loaded.address("k")
    )
    function(x.ctypes.data, y.ctypes.data, z.ctypes.data, 0, 1)

    registers = [ir.Register(label, dtype, True) for label in "xy"]
    oracle = numpy_scalars.evaluate(
        expansion(name, list(map(ir.Read, registers))), dict(zip(registers, (x, y)))
    )
    if dtype == dtypes.float32:
        np.testing.assert_array_equal(z, oracle)
        np.testing.assert_array_equal(np.signbit(z)[z == 0], np.signbit(oracle)[z == 0])
    else:  # the oracle's float64 fma may round twice
        np.testing.assert_array_max_ulp(z[~np.isnan(oracle)], oracle[~np.isnan(oracle)], 1)
        np.testing.assert_array_equal(np.isnan(z), np.isnan(oracle))


@pytest.mark.parametrize("processor", ["x86-64-v4", "x86-64-v3", "neoverse-n1"])
@pytest.mark.parametrize("name", [*loop_math.UNARY_FUNCTIONS, *loop_math.BINARY_FUNCTIONS])
def test_no_calls_on_any_target(name, processor):
    chosen = target(processor)
    assembly = jit.assembly(module_text(name, dtypes.float32, chosen.lanes), chosen)
    assert not re.findall(r"^\s+(?:call\w*|bl|blr)\s.*$", assembly, re.M)
