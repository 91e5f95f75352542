"""What a tile's results touch is fetched while its products are summed: where, how often, and without any effect."""

from __future__ import annotations

import numpy as np
from differential import mismatch

from graphrt.codegen.jit import assembly
from graphrt.codegen.target import target
from graphrt.compiler import lower, optimize
from graphrt.dtypes import float32
from graphrt.ir import Graph, TensorType, input_node
from graphrt.kernels.prefetch import MINIMUM_BYTES, Row, fetches, rows_of
from graphrt.loops import ir
from graphrt.loops.index import Var, as_index
from graphrt.ops import build

BIG = MINIMUM_BYTES // 4


def test_rows_join_neighbouring_lines_of_large_buffers() -> None:
    lane, block = Var("lane", 16), Var("block", 8)
    big, small = ir.Buffer("big", float32, BIG), ir.Buffer("small", float32, 64)
    value = ir.Load(small, as_index(lane))
    stores = [
        ir.Store(big, as_index(block) * 64 + row * 1024 + 16 * k + as_index(lane), value)
        for row in range(3)
        for k in (1, 0, 3, 2)
    ]
    rows = rows_of(stores, lane)
    assert [(r.buffer, r.start, r.lines, r.writes) for r in rows] == [
        (big, as_index(block) * 64 + 1024 * row, 4, True) for row in range(3)
    ]


def test_scattered_and_shared_elements_are_not_fetched() -> None:
    lane = Var("lane", 16)
    big, other = ir.Buffer("big", float32, BIG), ir.Buffer("other", float32, BIG)
    stores = [ir.Store(big, as_index(lane) * 32, ir.Load(other, as_index(Var("row", 9))))]
    assert rows_of(stores, lane) == []


def test_half_the_iterations_fetch_every_line() -> None:
    row = Row(ir.Buffer("big", float32, BIG), as_index(0), 4, False)
    place = fetches([row], iterations=32, unit=4, multiply_adds=96)
    lines = [place(as_index(4 * k))[0].address.constant // 16 for k in range(32)]
    assert lines == sorted(lines) and set(lines[:16]) >= {0, 1, 2, 3}


def test_no_fetches_where_they_would_be_many_or_late() -> None:
    row = Row(ir.Buffer("big", float32, BIG), as_index(0), 4, False)
    assert fetches([row] * 30, iterations=32, unit=4, multiply_adds=96)(as_index(0)) == []
    assert fetches([row], iterations=3, unit=4, multiply_adds=96)(as_index(0)) == []
    assert fetches([], iterations=32, unit=4, multiply_adds=96)(as_index(0)) == []


def residual(rows: int) -> Graph:
    """relu(x w + skip) with `skip` of 768 `rows` numbers."""
    x, skip = (input_node(k, TensorType((rows, n), float32)) for k, n in (("x", 64), ("skip", 768)))
    w = input_node("w", TensorType((64, 768), float32), "state")
    return Graph((x, skip, w), (build.relu(build.add(build.matmul(x, w), skip)),), {}, "residual")


def test_results_stay_the_same() -> None:
    """Prefetching runs past the end of both buffers here; values are whole numbers, so any other result shows."""
    generator = np.random.default_rng(0)
    graph = residual(100)
    values = {n.op.label: generator.integers(-4, 5, n.shape).astype(n.dtype.numpy) for n in graph.inputs}
    for threads in (1, 2):
        assert mismatch(graph, values, exact=True, threads=threads, poison=True) is None


def test_the_processor_is_asked() -> None:
    for rows, expected in ((100, True), (8, False)):
        step = lower(optimize(residual(rows)), threads=1)
        assert ("@llvm.prefetch" in step.text) is expected
    declared = "\n".join(sorted(lower(optimize(residual(100)), threads=1).declarations))
    for name in ("znver5", "haswell", "neoverse-n1"):
        chosen = target(name)
        text = "define void @hint(ptr %p) {\n  call void @llvm.prefetch.p0(ptr %p, i32 0, i32 3, i32 1)\n  ret void\n}\n"
        hint = next(line for line in declared.splitlines() if "prefetch" in line)
        assert "prf" in assembly(f"{hint}\n{text}", chosen) or "prefetch" in assembly(
            f"{hint}\n{text}", chosen
        )
