"""Kernels made by hand, compiled and run: loops, chunks of threads, masks, narrowed loops, lane reductions."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from graphrt.codegen import jit
from graphrt.codegen.emit import emit
from graphrt.codegen.spans import share
from graphrt.codegen.target import Instructions, target
from graphrt.dtypes import as_dtype, bool_, float32, int32
from graphrt.loops.index import Computed, Index, Var, as_index
from graphrt.loops.ir import (
    Assign,
    Binary,
    Buffer,
    Constant,
    Fma,
    FoldLanes,
    IndexValue,
    InRange,
    Kernel,
    LaneReduce,
    Load,
    Loop,
    Read,
    Register,
    Select,
    Statement,
    Store,
)  # fmt: skip

GUARD = 17  # elements behind each array that must stay as they are
MARK = 77


def run(kernel: Kernel, *arrays: np.ndarray, threads: int = 1, only: int | None = None) -> None:
    """Every thread's share in turn, or one thread's `only`; checks that nothing is written behind the arrays."""
    text, declarations = emit(kernel, target().instructions)
    text = text.replace("define internal void", "define void") + "\nattributes #0 = { nounwind }\n"
    compiled = jit.compile_text("\n".join([*sorted(declarations), text]), target())
    loaded = jit.load([compiled.object_code], [kernel.name])
    wide = [np.full(a.size + GUARD, MARK, a.dtype) for a in arrays]
    for memory, array in zip(wide, arrays):
        memory[: array.size] = array.ravel()
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arrays), ctypes.c_int64, ctypes.c_int64)
    entry = function(loaded.address(kernel.name))
    for thread in range(threads) if only is None else (only,):
        entry(*(memory.ctypes.data for memory in wide), thread, threads)
    for memory, array in zip(wide, arrays):
        assert (memory[array.size :] == np.array(MARK, array.dtype)).all(), "written behind an array"
        array.ravel()[...] = memory[: array.size]


def lanes_kernel(count: int, body, buffers: tuple[Buffer, ...]) -> Kernel:
    """`body(index)` for all `count` elements, in blocks of lanes with a masked rest."""
    lanes = target().lanes
    statements: list[Statement] = []
    full, rest = divmod(count, lanes)
    if full:
        block, lane = Var("block", full), Var("lane", lanes)
        inner = Loop(lane, body(as_index(block) * lanes + as_index(lane)), "vector", None)
        statements.append(Loop(block, [inner], "parallel"))
    if rest:
        lane = Var("tail", lanes)
        statements.append(Loop(lane, body(as_index(lane) + full * lanes), "vector", rest))
    return Kernel("k", buffers, statements, lanes)


@pytest.mark.parametrize("count", [1, 7, 8, 15, 16, 17, 31, 32, 33, 100])
@pytest.mark.parametrize("dtype", [float32, int32], ids=str)
def test_tails_are_masked(count: int, dtype) -> None:
    x, y = Buffer("x", dtype, count), Buffer("y", dtype, count)
    kernel = lanes_kernel(
        count, lambda i: [Store(y, i, Binary("add", Load(x, i), Constant(1, dtype)))], (x, y)
    )
    given, result = np.arange(count).astype(dtype.numpy), np.zeros(count, dtype.numpy)
    run(kernel, given, result)
    assert np.array_equal(result, given + 1)


@pytest.mark.parametrize("threads", [1, 2, 3, 5, 7, 40])
@pytest.mark.parametrize("extent", [1, 2, 5, 24])
def test_threads_share_a_loop_without_gaps(threads: int, extent: int) -> None:
    x, i = Buffer("x", int32, extent), Var("i", extent)
    more = Binary("add", Load(x, as_index(i)), Constant(1, int32))
    result = np.zeros(extent, np.int32)
    run(Kernel("k", (x,), [Loop(i, [Store(x, as_index(i), more)], "parallel")], 16), result, threads=threads)
    assert (result == 1).all()


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_loops_backwards_end_at_the_beginning(threads: int) -> None:
    """Each thread walks its own share from the end: what it wrote last is the number of its first iteration."""
    extent = 5
    y, last, i = Buffer("y", int32, extent), Buffer("last", int32, threads), Var("i", extent)
    of_thread = [Store(last, Index(), IndexValue(as_index(i), int32))]
    mark = Store(y, as_index(i), IndexValue(as_index(i) + 1, int32))
    kernel = Kernel("k", (y, last), [Loop(i, [mark, *of_thread], "parallel", backwards=True)], 16)
    result, ends = np.zeros(extent, np.int32), np.full(threads, -1, np.int32)
    run(kernel, result, ends, threads=threads)
    assert np.array_equal(result, np.arange(extent) + 1)
    assert ends[0] == extent * (threads - 1) // threads  # the threads take turns: the last one's beginning


@pytest.mark.parametrize("threads, extent", [(1, 1), (2, 1), (3, 1), (2, 5), (3, 2), (4, 85)])
def test_a_thread_runs_the_iterations_that_its_spans_say(threads: int, extent: int) -> None:
    """A single one, such as the rest behind whole tiles, is thread 0's, which has the smaller share of the tiles."""
    x, i = Buffer("x", int32, extent), Var("i", extent)
    kernel = Kernel("k", (x,), [Loop(i, [Store(x, as_index(i), Constant(1, int32))], "parallel")], 16)
    for thread in range(threads):
        result = np.zeros(extent, np.int32)
        run(kernel, result, threads=threads, only=thread)
        first, end = share(extent, thread, threads)
        assert result.nonzero()[0].tolist() == list(range(first, end))
    assert share(1, 0, threads) == (0, 1)


@pytest.mark.parametrize("stride", [2, 3, -1])
def test_strided_lanes_gather_and_scatter(stride: int) -> None:
    count = 37
    size = abs(stride) * (count - 1) + 1
    x, y = Buffer("x", float32, size), Buffer("y", float32, size)
    start = 0 if stride > 0 else size - 1
    kernel = lanes_kernel(
        count, lambda i: [Store(y, i * stride + start, Load(x, i * stride + start))], (x, y)
    )
    given, result = np.arange(1, size + 1).astype(np.float32), np.zeros(size, np.float32)
    run(kernel, given, result)
    expected = np.zeros(size, np.float32)
    touched = slice(None, None, abs(stride))
    expected[touched] = given[touched]
    assert np.array_equal(result, expected)


@pytest.mark.parametrize("width", [16, 8, 5])
@pytest.mark.parametrize("count", [32, 37])
def test_elements_of_a_short_row_are_looked_up(width: int, count: int) -> None:
    """One row per block, whose elements the lanes choose: right for rows that fit a vector and others."""
    x, at, y = Buffer("x", float32, 4 * width), Buffer("at", int32, count), Buffer("y", float32, count)

    def body(i: Index) -> list[Statement]:
        chosen = as_index(Computed(Load(at, i), width))
        return [Store(y, i, Load(x, chosen + width))]

    kernel = lanes_kernel(count, body, (x, at, y))
    given = np.arange(4 * width).astype(np.float32)
    places = np.random.default_rng(0).integers(0, width, count).astype(np.int32)
    result = np.zeros(count, np.float32)
    run(kernel, given, places, result)
    assert np.array_equal(result, given[places + width])
    text, _ = emit(kernel, Instructions(lookups=True))
    looked_up = "permvar" in text or "permps" in text
    assert looked_up == (width <= kernel.lanes and kernel.lanes > 4 and 3 * width >= kernel.lanes)
    assert "permvar" not in emit(kernel)[0]


def test_quotients_and_remainders_floor() -> None:
    count = 40
    y = Buffer("y", int32, count)

    def body(i: Index) -> list[Statement]:
        shifted = i - 17
        parts = IndexValue(shifted // 5 * 100 + shifted % 5, int32)
        return [Store(y, i, parts)]

    result = np.zeros(count, np.int32)
    run(lanes_kernel(count, body, (y,)), result)
    numbers = np.arange(count) - 17
    assert np.array_equal(result, numbers // 5 * 100 + numbers % 5)


def test_guarded_loads_touch_nothing_outside() -> None:
    """Reads far outside of the array would end the process."""
    count = 20
    x, y = Buffer("x", float32, count), Buffer("y", float32, count)
    far = 1 << 28

    def body(i: Index) -> list[Statement]:
        inside = InRange(i, 5, 9)
        near = Load(x, i, inside)
        never = Load(x, i + far, InRange(i + far, 0, count))
        return [Store(y, i, Binary("add", Select(inside, near, Constant(-1.0, float32)), never))]

    given, result = np.arange(count).astype(np.float32), np.zeros(count, np.float32)
    run(lanes_kernel(count, body, (x, y)), given, result)
    assert result.tolist() == [k if 5 <= k < 9 else -1 for k in range(count)]


@pytest.mark.parametrize("active", [1, 3, None])
@pytest.mark.parametrize(
    ("combine", "expected"), [("add", sum), ("max", max), ("min", min), ("mul", np.prod)]
)
def test_lane_reductions_count_active_lanes_only(active: int | None, combine: str, expected) -> None:
    lanes = target().lanes
    x, y = Buffer("x", float32, lanes), Buffer("y", float32, 1)
    lane = Var("lane", lanes)
    folded = LaneReduce(combine, Load(x, as_index(lane)))
    kernel = Kernel("k", (x, y), [Loop(lane, [Store(y, as_index(0), folded)], "vector", active)], lanes)
    given = (np.arange(lanes) % 3 - 3).astype(np.float32)
    result = np.zeros(1, np.float32)
    run(kernel, given, result)
    assert result[0] == expected(given[:active].tolist())


def test_registers_keep_their_value_across_iterations() -> None:
    lanes, rows = target().lanes, 9
    x, y = Buffer("x", float32, rows * lanes), Buffer("y", float32, lanes)
    row, lane = Var("row", rows), Var("lane", lanes)
    total = Register("total", float32, True)
    term = Load(x, as_index(row) * lanes + as_index(lane))
    body: list[Statement] = [
        Assign(total, Constant(1.0, float32)),
        Loop(row, [Assign(total, Fma(term, term, Read(total, lane)))]),
        Store(y, as_index(lane), Read(total, lane)),
    ]
    given, result = np.arange(rows * lanes).astype(np.float32) % 7, np.zeros(lanes, np.float32)
    run(Kernel("k", (x, y), [Loop(lane, body, "vector")], lanes), given, result)
    assert np.array_equal(result, 1 + (given.reshape(rows, lanes) ** 2).sum(0))


@pytest.mark.parametrize("taps", [1, 3, 5])
def test_narrowed_loops_run_inside_their_bounds_only(taps: int) -> None:
    """y[i] = sum of x[i + r - 2] over the taps r that stay inside x."""
    size = 6
    x, y = Buffer("x", int32, size), Buffer("y", int32, size)
    i, r = Var("i", size), Var("r", taps)
    at = as_index(i) + as_index(r) - 2
    total = Register("total", int32, False)
    add = Assign(total, Binary("add", Read(total), Load(x, at)))
    loop = Loop(r, [add], low=(as_index(2) - as_index(i),), high=(as_index(size + 2) - as_index(i),))
    body: list[Statement] = [Assign(total, Constant(0, int32)), loop, Store(y, as_index(i), Read(total))]
    given, result = np.arange(1, size + 1).astype(np.int32), np.full(size, -9, np.int32)
    run(Kernel("k", (x, y), [Loop(i, body)], 16), given, result)
    assert result.tolist() == [
        sum(int(given[k + t - 2]) for t in range(taps) if 0 <= k + t - 2 < size) for k in range(size)
    ]


def test_stores_of_one_group_read_old_values() -> None:
    count = 20
    x, y = Buffer("x", float32, count), Buffer("y", float32, count)
    kernel = lanes_kernel(count, lambda i: [Store(x, i, Load(y, i)), Store(y, i, Load(x, i))], (x, y))
    a, b = np.arange(count).astype(np.float32), np.arange(count).astype(np.float32) * -1
    run(kernel, a, b)
    assert np.array_equal(b, np.arange(count)) and np.array_equal(a, -np.arange(count))


def test_booleans_are_one_byte_in_memory() -> None:
    count = 19
    x, y = Buffer("x", float32, count), Buffer("y", bool_, count)
    kernel = lanes_kernel(
        count, lambda i: [Store(y, i, Binary("gt", Load(x, i), Constant(4.0, float32)))], (x, y)
    )
    given, result = np.arange(count).astype(np.float32), np.zeros(count, np.uint8)
    run(kernel, given, result)
    assert result.tolist() == [int(k > 4) for k in range(count)]


def test_the_same_kernel_gives_the_same_text() -> None:
    def made() -> str:
        x = Buffer("x", float32, 100)
        return emit(lanes_kernel(100, lambda i: [Store(x, i, Binary("mul", Load(x, i), Load(x, i)))], (x,)))[
            0
        ]

    assert made() == made()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32], ids=lambda d: d.__name__)
@pytest.mark.parametrize(
    ("combine", "function"), [("add", np.sum), ("max", np.max), ("min", np.min), ("mul", np.prod)]
)
def test_registers_folded_together(combine: str, function, dtype) -> None:
    lanes = target().lanes
    random = np.random.default_rng(0)
    for count, active in ((1, lanes), (3, lanes), (lanes - 1, lanes), (lanes, lanes), (lanes, 3), (2, 1)):
        x, y = (Buffer(name, as_dtype(dtype), lanes * lanes) for name in ("x", "y"))
        registers = tuple(Register(f"r{k}", x.dtype, True) for k in range(count))
        total, lane, out = Register("total", x.dtype, True), Var("lane", lanes), Var("out", lanes)
        body: list[Statement] = [
            Assign(r, Load(x, as_index(lane) + k * lanes)) for k, r in enumerate(registers)
        ]
        body.append(FoldLanes(combine, registers, total))
        store = Store(y, as_index(out), Read(total, out))
        loops: list[Statement] = [Loop(lane, body, "vector", active), Loop(out, [store], "vector", count)]
        values = random.integers(-3, 4, (lanes, lanes)).astype(dtype)
        result = np.zeros(lanes * lanes, dtype)
        run(Kernel("k", (x, y), loops, lanes), values.ravel(), result)
        np.testing.assert_array_equal(result[:count], function(values[:count, :active], axis=1))
        assert not result[count:].any()


def test_elements_with_several_results_are_finished_one_by_one() -> None:
    """Two buffers change places: every element reads both before it writes, the next one starts after that."""
    x, y = Buffer("x", float32, 4), Buffer("y", float32, 4)
    body: list[Statement] = []
    for k in range(4):
        index = as_index(k)
        body += [Store(x, index, Load(y, index)), Store(y, index, Load(x, index))]
    kernel = Kernel("k", (x, y), body, target().lanes)
    first, second = np.arange(4, dtype=np.float32), np.arange(4, 8, dtype=np.float32)
    run(kernel, first, second)
    assert list(first) == [4, 5, 6, 7] and list(second) == [0, 1, 2, 3]
    lines = emit(kernel)[0].splitlines()
    kinds = [word for line in lines for word in ("load", "store") if f" {word} " in line]
    assert kinds == ["load", "load", "store", "store"] * 4
