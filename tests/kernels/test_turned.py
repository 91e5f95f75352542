"""Weight gradients whose sums are turned in registers: chosen where it saves the copy of the larger operand, and right."""

from __future__ import annotations

import numpy as np
import pytest
from differential import mismatch

from graphrt.dtypes import float32
from graphrt.ir import Graph, TensorType, apply, input_node
from graphrt.kernels.build import build_kernel
from graphrt.loops import ir
from graphrt.ops import build
from graphrt.ops.views import Transpose
from graphrt.schedule.plan import Schedule, schedule


def narrowing_layer(tokens: int, wide: int, narrow: int) -> Graph:
    """y = h w' with h = tanh(x u), and the update of w [narrow, wide] by y' h, with a moment as second state."""
    x = input_node("x", TensorType((tokens, 24), float32))
    u = input_node("u", TensorType((24, wide), float32))
    w = input_node("w", TensorType((narrow, wide), float32), kind="state")
    moment = input_node("moment", TensorType((narrow, wide), float32), kind="state")
    hidden = build.tanh(build.matmul(x, u))
    y = build.matmul(hidden, apply(Transpose((1, 0)), w))
    gradient = build.matmul(apply(Transpose((1, 0)), build.mul(y, 0.01)), hidden)
    grown = build.add(build.mul(moment, 0.5), gradient)
    return Graph((x, u, w, moment), (build.reduce_sum(y),), {moment: grown, w: build.sub(w, grown)}, "layer")


def planned_for(graph: Graph, threads: int = 1) -> tuple[Schedule, list[ir.Kernel]]:
    planned = schedule(graph, 16)
    return planned, [build_kernel(group, planned.slots, 16, threads)[0] for group in planned.groups]


def turned_products(graph: Graph) -> int:
    """Kernels with a register transpose that also multiply and add."""
    _, kernels = planned_for(graph)
    found = 0
    for kernel in kernels:
        statements = list(ir.statements(kernel.body))
        sums = any(isinstance(s, ir.Assign) and isinstance(s.value, ir.Fma) for s in statements)
        found += sums and any(isinstance(s, ir.TransposeLanes) for s in statements)
    return found


def copied_elements(graph: Graph) -> list[int]:
    planned, _ = planned_for(graph)
    return [n.type.size for group in planned.groups for n in group.stores if n.op.name == "copy"]


def test_the_smaller_operand_is_copied() -> None:
    graph = narrowing_layer(192, 256, 64)
    assert copied_elements(graph) == [192 * 24, 192 * 64]
    assert turned_products(graph) == 1


@pytest.mark.parametrize(
    ("tokens", "wide", "narrow"),
    [(192, 64, 256), (32, 256, 64), (192, 250, 64), (192, 256, 60)],
    ids=["the usual one is smaller", "few terms", "no whole squares", "nor here"],
)
def test_sums_that_are_stored_as_they_are(tokens: int, wide: int, narrow: int) -> None:
    assert turned_products(narrowing_layer(tokens, wide, narrow)) == 0


@pytest.mark.parametrize(("tokens", "wide", "narrow"), [(192, 256, 64), (208, 144, 16), (256, 4096, 32)])
def test_turned_sums_equal_the_interpreter(tokens: int, wide: int, narrow: int) -> None:
    graph = narrowing_layer(tokens, wide, narrow)
    random = np.random.default_rng(1)
    values = {n.op.label: (random.standard_normal(n.shape) * 0.3).astype(np.float32) for n in graph.inputs}
    for threads in (1, 2):
        assert mismatch(graph, values, exact=False, threads=threads, poison=True) is None


def test_what_the_next_square_reads_is_fetched_where_it_is_beyond_the_cache() -> None:
    def fetched(tokens: int, wide: int) -> set[str]:
        _, kernels = planned_for(narrowing_layer(tokens, wide, 32))
        statements = [s for k in kernels for s in ir.statements(k.body) if "transpose" in str(k)]
        return {s.buffer.name for s in statements if isinstance(s, ir.Prefetch) and not s.write}

    assert fetched(256, 256) == set()
    assert len(fetched(256, 4096)) >= 1  # 4 MB


def test_the_larger_operand_beyond_the_cache_is_outside() -> None:
    """Lanes along the 128 columns; the other operand has 3 MB and is walked by the outer loop."""
    graph = weight_gradient(768, 1024, 128)
    (kernel,) = [k for k in planned_for(graph)[1] if "mat_mul" in k.name]
    assert outer_loop(kernel) == "i0"
    (kernel,) = [k for k in planned_for(weight_gradient(768, 128, 128))[1] if "mat_mul" in k.name]
    assert outer_loop(kernel) == "i1"


def weight_gradient(tokens: int, rows: int, columns: int) -> Graph:
    dy = input_node("dy", TensorType((tokens, rows), float32))
    x = input_node("x", TensorType((tokens, columns), float32))
    return Graph((dy, x), (build.matmul(apply(Transpose((1, 0)), dy), x),), {}, "gradient")


def outer_loop(kernel: ir.Kernel) -> str:
    loop = kernel.body[0]
    assert isinstance(loop, ir.Loop)
    return loop.var.name
