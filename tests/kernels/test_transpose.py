"""Sweeps of square blocks turned in registers: chosen where operand and result disagree, right at every size."""

from __future__ import annotations

import numpy as np
import pytest
from differential import mismatch

from graphrt.dtypes import float32, int32
from graphrt.ir import Graph, TensorType, apply, input_node
from graphrt.kernels.build import build_kernel
from graphrt.loops import ir
from graphrt.ops.elementwise import Add
from graphrt.ops.views import Transpose
from graphrt.schedule.plan import schedule

SIZES = [(16, 16), (64, 48), (17, 33), (15, 40), (8, 9), (7, 100), (31, 8)]


def transposed_sum(rows: int, columns: int, dtype=float32) -> Graph:
    """x transposed plus y: the operands are contiguous along different axes."""
    x = input_node("x", TensorType((3, rows, columns), dtype))
    y = input_node("y", TensorType((3, columns, rows), dtype))
    turned = apply(Add(), apply(Transpose((0, 2, 1)), x), apply(Transpose((0, 2, 1)), x))
    return Graph((x, y), (turned, apply(Add(), apply(Transpose((0, 2, 1)), x), y)), {}, "turned")


def whole_numbers(graph: Graph) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {n.op.label: random.integers(-9, 9, n.shape).astype(n.dtype.numpy) for n in graph.inputs}


def turns(graph: Graph) -> int:
    """How many register transposes the kernels of a graph contain."""
    planned = schedule(graph, 16)
    kernels = [build_kernel(group, planned.slots, 16, 1)[0] for group in planned.groups]
    return sum(isinstance(s, ir.TransposeLanes) for kernel in kernels for s in ir.statements(kernel.body))


def test_a_transposed_copy_turns_blocks() -> None:
    x = input_node("x", TensorType((64, 48), float32))
    assert turns(Graph((x,), (apply(Transpose((1, 0)), x),), {}, "copy")) == 1
    assert turns(Graph((x,), (apply(Add(), x, x),), {}, "straight")) == 0


@pytest.mark.parametrize("dtype", [float32, int32], ids=str)
@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_turned_sweeps_equal_the_interpreter(rows: int, columns: int, dtype) -> None:
    graph = transposed_sum(rows, columns, dtype)
    for threads in (1, 2, 3):
        assert mismatch(graph, whole_numbers(graph), exact=True, threads=threads, poison=True) is None
