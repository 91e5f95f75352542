"""Where threads wait: the conflict analysis on kernels made by hand."""

from __future__ import annotations

import pytest

from graphrt.codegen.barriers import Access, Region, accesses, barriers
from graphrt.dtypes import float32, int64
from graphrt.loops.index import Computed, Index, Var, as_index
from graphrt.loops.ir import Binary, Buffer, Constant, Kernel, Load, Loop, Select, Statement, Store

ROWS, COLUMNS = 24, 16
BYTES = ROWS * COLUMNS * 4


def region(start: int = 0, space: str = "arena", size: int = BYTES) -> Region:
    return Region(space, start, start + size)


def buffer(name: str) -> Buffer:
    return Buffer(name, float32, ROWS * COLUMNS)


def kernel(
    source: Buffer, target: Buffer, *, rows: int = ROWS, columns: int = COLUMNS, shift: int = 0,
    transposed: bool = False, serial: bool = False,
) -> Kernel:  # fmt: skip
    """target[i, j] = source[i, j], rows split over the threads; `shift` moves the read, `transposed` crosses it."""
    i, j = Var("i", rows), Var("j", columns)
    here = as_index(i) * columns + as_index(j)
    there = as_index(j) * rows + as_index(i) if transposed else here + shift
    body: list[Statement] = [Loop(i, [Loop(j, [Store(target, here, Load(source, there))])], "parallel")]
    return Kernel("k", (source, target), body, 16, serial)


def test_scratch_is_nobody_elses_business() -> None:
    made = kernel(A, B)
    through = Buffer("own", float32, ROWS * COLUMNS)
    made.body.append(Store(through, as_index(0), Load(through, as_index(1))))
    made.scratch = (through,)
    assert {a.region for a in accesses(made, [PLACE_A, PLACE_B])} == {PLACE_A, PLACE_B}


A, B, C = buffer("a"), buffer("b"), buffer("c")
PLACE_A, PLACE_B, PLACE_C = region(0), region(4096), region(8192)


def waits(first: Kernel, second: Kernel, places: list[list[Region]] | None = None) -> bool:
    result = barriers([first, second], places or [[PLACE_A, PLACE_B], [PLACE_B, PLACE_C]])
    assert result[0] is False
    return result[1]


def test_regions_overlap_within_one_space() -> None:
    assert Region("arena", 0, 64).overlaps(Region("arena", 63, 70))
    assert not Region("arena", 0, 64).overlaps(Region("arena", 64, 128))
    assert not Region("arena", 0, 64).overlaps(Region("binding0", 0, 64))


def test_what_a_kernel_touches() -> None:
    found = accesses(kernel(A, B), [PLACE_A, PLACE_B])
    chunks = ("chunks", ROWS, COLUMNS * 4)
    assert set(found) == {Access(PLACE_A, False, chunks), Access(PLACE_B, True, chunks)}
    crossed = accesses(kernel(A, B, transposed=True), [PLACE_A, PLACE_B])
    assert set(crossed) == {Access(PLACE_A, False, ("any",)), Access(PLACE_B, True, chunks)}
    assert {a.owner for a in accesses(kernel(A, B, serial=True), [PLACE_A, PLACE_B])} == {("serial",)}


def test_equal_chunks_need_no_barrier() -> None:
    assert not waits(kernel(A, B), kernel(B, C))


@pytest.mark.parametrize(
    "second",
    [
        kernel(B, C, transposed=True),
        kernel(B, C, shift=1),  # the last element of a row is the next thread's
        kernel(
            B, C, rows=ROWS // 2, columns=COLUMNS * 2
        ),  # the same chunk for even splits, another for odd ones
        kernel(B, C, serial=True),
    ],
    ids=["transposed", "shifted", "other extent", "serial reader"],
)
def test_data_of_another_thread_needs_a_barrier(second: Kernel) -> None:
    assert waits(kernel(A, B), second)


def test_serial_kernels_follow_each_other_on_one_thread() -> None:
    assert not waits(kernel(A, B, serial=True), kernel(B, C, serial=True))
    assert waits(kernel(A, B, serial=True), kernel(B, C))


def test_reading_twice_is_no_conflict() -> None:
    places = [[PLACE_A, PLACE_B], [PLACE_A, PLACE_C]]
    assert not waits(kernel(A, B), kernel(A, C, transposed=True), places)


def test_overwriting_what_others_may_still_read() -> None:
    """Memory sharing: the second kernel's result lies where the first kernel's operand was."""
    assert waits(kernel(A, B, transposed=True), kernel(C, A), [[PLACE_A, PLACE_B], [PLACE_C, PLACE_A]])
    assert not waits(kernel(A, B), kernel(C, A), [[PLACE_A, PLACE_B], [PLACE_C, PLACE_A]])


def test_overwriting_results() -> None:
    assert not waits(kernel(A, B), kernel(C, B), [[PLACE_A, PLACE_B], [PLACE_C, PLACE_B]])
    assert waits(
        kernel(A, B), kernel(C, B, rows=ROWS // 2, columns=COLUMNS), [[PLACE_A, PLACE_B], [PLACE_C, PLACE_B]]
    )


def test_equal_chunks_of_shifted_memory_are_other_bytes() -> None:
    moved = region(4096 + 64)
    assert waits(kernel(A, B), kernel(B, C), [[PLACE_A, PLACE_B], [moved, PLACE_C]])


def test_a_barrier_settles_everything_before_it() -> None:
    first, second, third = kernel(A, B), kernel(B, C, transposed=True), kernel(B, A)
    places = [[PLACE_A, PLACE_B], [PLACE_B, PLACE_C], [PLACE_B, PLACE_A]]
    assert barriers([first, second, third], places) == [False, True, False]


def test_conflicts_reach_over_kernels_in_between() -> None:
    other = kernel(buffer("x"), buffer("y"))
    elsewhere = [region(20_000), region(30_000)]
    found = barriers(
        [kernel(A, B), other, kernel(B, C, transposed=True)],
        [[PLACE_A, PLACE_B], elsewhere, [PLACE_B, PLACE_C]],
    )
    assert found == [False, False, True]


def test_positions_known_only_at_run_time_belong_to_anybody() -> None:
    i = Var("i", ROWS)
    row = Computed(Constant(3, int64), ROWS)
    gathered = Load(B, Index({row: 1}))
    body: list[Statement] = [Loop(i, [Store(C, as_index(i), gathered)], "parallel")]
    assert waits(kernel(A, B), Kernel("gather", (B, C), body, 16))


def test_reads_hidden_in_addresses_and_guards_are_seen() -> None:
    """The gathered position, the guard of a load, and a select's condition are reads too."""
    i = Var("i", ROWS)
    zero = Constant(0.0, float32)
    far = as_index(i) * -1 + (ROWS - 1)  # another thread's element
    condition = Binary("lt", Load(B, far), zero)
    position = Computed(Load(Buffer("index", int64, ROWS), far), ROWS)
    for value in (Load(A, as_index(i), condition), Select(condition, zero, zero)):
        reader = Kernel("guarded", (B, A, C), [Loop(i, [Store(C, as_index(i), value)], "parallel")], 16)
        places = [[PLACE_A, PLACE_B], [PLACE_B, region(40_000), PLACE_C]]
        assert barriers([kernel(A, B), reader], places)[1]
    index = position.scalar.buffer
    reader = Kernel(
        "indexed",
        (index, A, C),
        [Loop(i, [Store(C, as_index(i), Load(A, Index({position: 1})))], "parallel")],
        16,
    )
    assert barriers([kernel(A, B), reader], [[PLACE_A, PLACE_B], [PLACE_B, region(40_000), PLACE_C]])[1]


def test_work_outside_a_parallel_loop_is_done_by_every_thread() -> None:
    body: list[Statement] = [Store(B, as_index(0), Load(A, as_index(0)))]
    (access,) = [a for a in accesses(Kernel("k", (A, B), body, 16), [PLACE_A, PLACE_B]) if a.writes]
    assert access.owner == ("any",)
