"""Masked accesses wider than one register give the right values on a processor with narrower vectors."""

import numpy as np
import pytest

from graphrt import compiler, ir
from graphrt.codegen.target import target
from graphrt.dtypes import as_dtype
from graphrt.ir.interpret import evaluate
from graphrt.ops.contractions import Conv2dBackwardInput


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("width", [13, 14, 16])
def test_masks_of_two_registers(dtype, width, monkeypatch):
    """A strided backward-data convolution loads under one mask per parity, and-ed with the masks of the edges."""
    if not target("haswell").is_host_compatible:
        pytest.skip("this machine cannot run code for haswell")
    monkeypatch.setenv("GRAPHRT_TARGET", "haswell")
    nodes = []
    for label, shape in (("dy", (1, 2, 4, width - 1)), ("w", (2, 1, 5, 5))):
        nodes.append(ir.Node(ir.Input(label, "data"), (), ir.TensorType(shape, as_dtype(dtype))))
    result = ir.apply(Conv2dBackwardInput((1, 2, 7, width), (2, 1), (4, 0, 0, 3), (1, 1), 2), *nodes)
    generator = np.random.default_rng(0)
    values = [generator.integers(-4, 5, node.shape).astype(dtype) for node in nodes]
    expected = evaluate((result,), dict(zip(nodes, values)))[0]
    given = compiler.compile_graph(ir.Graph(tuple(nodes), (result,), {}, "masks"))(*values)[0]
    np.testing.assert_array_equal(given, expected)
