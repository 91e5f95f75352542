"""Where threads wait: the conflict analysis on kernels made by hand."""

from __future__ import annotations

import pytest

from graphrt.codegen.barriers import PRIVATE, Access, Accesses, Region, Who, barriers
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
    assert {a.region for a in accesses(made)} == {PLACE_A, PLACE_B}


A, B, C = buffer("a"), buffer("b"), buffer("c")
PLACE_A, PLACE_B, PLACE_C = region(0), region(4096), region(8192)


def runs(kernel: Kernel) -> Who:
    return "first" if kernel.serial else "all"


def accesses(
    kernel: Kernel, places: tuple[Region, Region] = (PLACE_A, PLACE_B), threads: int = 2
) -> list[Access]:
    return Accesses(threads).of(kernel, runs(kernel), places)


def found_barriers(kernels: list[Kernel], places: list[list[Region]], threads: int = 2) -> list[bool]:
    return barriers([(k, runs(k)) for k in kernels], places, Accesses(threads))


def waits(first: Kernel, second: Kernel, places: list[list[Region]] | None = None, threads: int = 2) -> bool:
    result = found_barriers([first, second], places or [[PLACE_A, PLACE_B], [PLACE_B, PLACE_C]], threads)
    assert result[0] is False
    return result[1]


def test_regions_overlap_within_one_space() -> None:
    assert Region("arena", 0, 64).overlaps(Region("arena", 63, 70))
    assert not Region("arena", 0, 64).overlaps(Region("arena", 64, 128))
    assert not Region("arena", 0, 64).overlaps(Region("binding0", 0, 64))


def test_what_a_kernel_touches() -> None:
    halves = (((0, BYTES // 2),), ((BYTES // 2, BYTES),))
    found = {(a.region, a.writes): a.spans for a in accesses(kernel(A, B))}
    assert found == {(PLACE_A, False): halves, (PLACE_B, True): halves}
    crossed = {a.writes: a.spans for a in accesses(kernel(A, B, transposed=True))}
    assert crossed[True] == halves
    assert crossed[False][0][:2] == ((0, 48), (96, 144))  # 12 of the 24 elements of every transposed row
    assert crossed[False][1][:2] == ((48, 96), (144, 192))
    serial = accesses(kernel(A, B, serial=True))
    assert {a.spans for a in serial} == {(((0, BYTES),), ())}
    assert [a.lines for a in serial] == [BYTES // 64, BYTES // 64]
    assert [a.lines for a in accesses(kernel(A, B, rows=3, columns=1))] == [2, 2]  # one line, two threads


def test_equal_chunks_need_no_barrier() -> None:
    assert not waits(kernel(A, B), kernel(B, C))


@pytest.mark.parametrize(
    "second",
    [
        kernel(B, C, transposed=True),
        kernel(B, C, shift=1),  # the last element of a row is the next thread's
        kernel(B, C, serial=True),
    ],
    ids=["transposed", "shifted", "serial reader"],
)
def test_data_of_another_thread_needs_a_barrier(second: Kernel) -> None:
    assert waits(kernel(A, B), second)


@pytest.mark.parametrize("rows", [2, 4, 8, 12, 24, 48, ROWS * COLUMNS])
def test_loops_of_other_extents_may_cut_at_the_same_places(rows: int) -> None:
    """Two blocks, eight rows or single elements: halves are halves. Five threads cut each of them elsewhere."""
    other = kernel(B, C, rows=rows, columns=ROWS * COLUMNS // rows)
    assert not waits(kernel(A, B), other)
    assert waits(kernel(A, B), other, threads=5) == (rows != ROWS)


def test_the_cut_must_be_the_same_byte() -> None:
    """Three blocks of eight rows: the second thread begins at row 8, in the loop over rows at row 12."""
    assert waits(kernel(A, B), kernel(B, C, rows=3, columns=8 * COLUMNS))


def test_interleaved_parts_are_told_apart() -> None:
    """[3][8][16], the middle axis divided: every thread touches three stretches, and no other's."""

    def middle(source: Buffer, target: Buffer, extent: int) -> Kernel:
        """Middle axis in `extent` pieces."""
        m, outer, rest = Var("m", extent), Var("o", 3), Var("r", 128 // extent)
        at = as_index(outer) * 128 + as_index(m) * (128 // extent) + as_index(rest)
        inner = Loop(outer, [Loop(rest, [Store(target, at, Load(source, at))])])
        return Kernel("m", (source, target), [Loop(m, [inner], "parallel")], 16)

    assert not waits(middle(A, B, 8), middle(B, C, 8))
    assert not waits(middle(A, B, 8), middle(B, C, 4))
    assert waits(middle(A, B, 8), middle(B, C, 4), threads=3)
    assert waits(middle(A, B, 8), kernel(B, C))


def test_masked_lanes_touch_nothing() -> None:
    """Rows of ten in vectors of sixteen: the six lanes that do not count lie in the next row."""
    row, lane = Var("row", 4), Var("lane", 16)
    at = as_index(row) * 10 + as_index(lane)
    body: list[Statement] = [Loop(row, [Loop(lane, [Store(C, at, Load(B, at))], "vector", 10)], "parallel")]
    masked = Kernel("rows", (B, C), body, 16)
    assert not waits(kernel(A, B, rows=4, columns=10), masked)


def test_copies_of_ones_own_are_nobody_elses_business() -> None:
    """Every thread computes the whole, into memory of its own; who reads only that needs no barrier."""
    own = Region(PRIVATE, 0, BYTES)
    placed = [[PLACE_A, own], [own, PLACE_C]]
    kernels: list[tuple[Kernel, Who]] = [(kernel(A, B), "each"), (kernel(B, C, transposed=True), "all")]
    assert barriers(kernels, placed, Accesses(3)) == [False, False]
    assert barriers(kernels, [[PLACE_A, PLACE_B], [PLACE_B, PLACE_C]], Accesses(3)) == [False, True]
    written: list[tuple[Kernel, Who]] = [(kernel(C, A), "all"), (kernel(A, B), "each")]
    assert barriers(written, [[PLACE_C, PLACE_A], [PLACE_A, own]], Accesses(2)) == [False, True]


def test_one_thread_never_waits() -> None:
    assert not waits(kernel(A, B), kernel(B, C, transposed=True), threads=1)


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
    shorter = kernel(C, B, rows=ROWS // 2, columns=COLUMNS)
    assert waits(kernel(A, B), shorter, [[PLACE_A, PLACE_B], [PLACE_C, PLACE_B]])


def test_equal_chunks_of_shifted_memory_are_other_bytes() -> None:
    moved = region(4096 + 64)
    assert waits(kernel(A, B), kernel(B, C), [[PLACE_A, PLACE_B], [moved, PLACE_C]])


def test_a_barrier_settles_everything_before_it() -> None:
    first, second, third = kernel(A, B), kernel(B, C, transposed=True), kernel(B, A)
    places = [[PLACE_A, PLACE_B], [PLACE_B, PLACE_C], [PLACE_B, PLACE_A]]
    assert found_barriers([first, second, third], places) == [False, True, False]


def test_conflicts_reach_over_kernels_in_between() -> None:
    other = kernel(buffer("x"), buffer("y"))
    elsewhere = [region(20_000), region(30_000)]
    found = found_barriers(
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
        assert found_barriers([kernel(A, B), reader], places)[1]
    index = position.scalar.buffer
    reader = Kernel(
        "indexed",
        (index, A, C),
        [Loop(i, [Store(C, as_index(i), Load(A, Index({position: 1})))], "parallel")],
        16,
    )
    assert found_barriers([kernel(A, B), reader], [[PLACE_A, PLACE_B], [PLACE_B, region(40_000), PLACE_C]])[1]


def test_work_outside_a_parallel_loop_is_done_by_every_thread() -> None:
    body: list[Statement] = [Store(B, as_index(0), Load(A, as_index(0)))]
    (access,) = [a for a in accesses(Kernel("k", (A, B), body, 16)) if a.writes]
    assert access.spans == (((0, 4),), ((0, 4),))
