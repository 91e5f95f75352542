"""Which bytes threads touch, and whether they must wait, against the loops run one iteration at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrt.codegen.barriers import Accesses, Region, barriers
from graphrt.codegen.spans import RANGES, KernelSpans, merged
from graphrt.dtypes import float32
from graphrt.loops.index import Index, Quotient, Var, as_index
from graphrt.loops.ir import Buffer, Kernel, Load, Loop, Statement, Store

ELEMENTS = 600
SOURCE, TARGET = Buffer("source", float32, ELEMENTS), Buffer("target", float32, ELEMENTS)


def evaluated(index: Index, values: Mapping[Var, int]) -> int:
    """The number an index stands for."""
    total = index.constant
    for atom, factor in index.terms:
        if isinstance(atom, Var):
            total += factor * values[atom]
        else:
            inner = evaluated(atom.index, values)
            total += factor * (inner // atom.divisor if isinstance(atom, Quotient) else inner % atom.divisor)
    return total


def walked(body: list[Statement], thread: int, threads: int, values: dict[Var, int]) -> Iterator[tuple]:
    """(buffer, writes, element) of everything one thread touches, loop by loop."""
    for statement in body:
        if isinstance(statement, Loop):
            extent = statement.var.extent
            low, high = 0, extent
            if statement.kind == "parallel":
                low, high = extent * thread // threads, extent * (thread + 1) // threads
                if extent == 1:
                    low, high = (0, 1) if thread == 0 else (0, 0)
            elif statement.kind == "vector" and statement.active is not None:
                high = statement.active
            for value in range(low, high):
                yield from walked(statement.body, thread, threads, {**values, statement.var: value})
        elif isinstance(statement, Store):
            assert isinstance(statement.value, Load)
            yield statement.buffer, True, evaluated(statement.address, values)
            yield statement.value.buffer, False, evaluated(statement.value.address, values)


def touched(kernel: Kernel, threads: int) -> dict[tuple[Buffer, bool], list[set[int]]]:
    """The elements every thread really touches."""
    result: dict[tuple[Buffer, bool], list[set[int]]] = {}
    for thread in range(threads):
        for buffer, writes, element in walked(kernel.body, thread, threads, {}):
            result.setdefault((buffer, writes), [set() for _ in range(threads)])[thread].add(element)
    return result


@st.composite
def kernels(draw: st.DrawFn, affine: bool) -> Kernel:
    """A copy between two of three buffers by one or two nests of loops, with a parallel loop at any depth."""
    body: list[Statement] = []
    for _ in range(draw(st.integers(1, 2))):
        extents = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
        loops = [Var(f"v{k}", extent) for k, extent in enumerate(extents)]
        parallel = draw(st.integers(0, len(loops) - 1))
        lane = Var("lane", 4)
        active = draw(st.sampled_from([None, 1, 3]))

        def address(loops: list[Var] = loops, lane: Var = lane) -> Index:
            index = Index((), draw(st.integers(0, 40)))
            for var in loops:
                index = index + as_index(var) * draw(st.sampled_from([0, 1, 2, 3, 4, 8, 12, 24]))
            if not affine and draw(st.booleans()):
                divisor = draw(st.integers(2, 9))
                index = (
                    index // divisor if draw(st.booleans()) else (index % divisor) * draw(st.integers(1, 9))
                )
            return index + as_index(lane) * draw(st.sampled_from([0, 1, 4]))

        inner: list[Statement] = [
            Loop(lane, [Store(TARGET, address(), Load(SOURCE, address()))], "vector", active)
        ]
        for k in reversed(range(len(loops))):
            inner = [Loop(loops[k], inner, "parallel" if k == parallel else "serial")]
        body += inner
    return Kernel("k", (SOURCE, TARGET), body, 4)


@pytest.mark.parametrize("affine", [True, False])
@given(data=st.data(), threads=st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_spans_hold_all_bytes_and_no_others_where_addresses_are_affine(affine, data, threads) -> None:
    kernel = data.draw(kernels(affine))
    spans = KernelSpans(kernel)
    real = touched(kernel, threads)
    assert set(spans.uses) == set(real)
    for (buffer, writes), elements in real.items():
        for found, mine in zip(spans.of(buffer, writes, threads), elements):
            held = {byte for start, stop in found for byte in range(start, stop)}
            exact = {4 * element + k for element in mine for k in range(4)}
            assert held >= exact
            if affine:
                assert held == exact


@pytest.mark.parametrize("affine", [True, False])
@given(data=st.data(), threads=st.integers(2, 5), shift=st.integers(-30, 30))
@settings(max_examples=150, deadline=None)
def test_threads_wait_where_their_data_crosses(affine, data, threads, shift) -> None:
    """The second kernel reads what the first one wrote, from a place `shift` elements further; and nothing else is
    shared."""
    first, second = data.draw(kernels(affine)), data.draw(kernels(affine))
    base = 4 * ELEMENTS
    places = [
        [Region("arena", 9 * base, 10 * base), Region("arena", base, 2 * base)],
        [Region("arena", base + 4 * shift, 2 * base + 4 * shift), Region("arena", 5 * base, 6 * base)],
    ]
    written, read = touched(first, threads)[TARGET, True], touched(second, threads)[SOURCE, False]
    crosses = any(
        mine & {element + shift for element in theirs}
        for (s, mine), (t, theirs) in itertools.product(enumerate(written), enumerate(read))
        if s != t
    )
    waits = barriers([(first, "all"), (second, "all")], places, Accesses(threads))[1]
    assert waits or not crosses
    if affine:
        assert waits == crosses


def test_too_many_ranges_become_fewer_that_hold_them() -> None:
    """Every second element of a thousand: the range around them, for each thread."""
    i = Var("i", 1000)
    buffer = Buffer("long", float32, 2000)
    body: list[Statement] = [Loop(i, [Store(buffer, as_index(i) * 2, Load(SOURCE, as_index(0)))], "parallel")]
    found = KernelSpans(Kernel("k", (SOURCE, buffer), body, 4)).of(buffer, True, 2)
    assert RANGES < 1000
    assert found == (((0, 3996),), ((4000, 7996),))


def test_nothing_lies_behind_the_buffer() -> None:
    """Lanes that do not count may reach over the end."""
    lane, buffer = Var("lane", 16), Buffer("short", float32, 10)
    body: list[Statement] = [
        Loop(lane, [Store(buffer, as_index(lane), Load(SOURCE, as_index(lane)))], "vector")
    ]
    assert KernelSpans(Kernel("k", (SOURCE, buffer), body, 16)).of(buffer, True, 1) == (((0, 40),),)


def test_ranges_are_merged() -> None:
    assert merged([(8, 12), (0, 4), (4, 8), (20, 24), (21, 22)]) == ((0, 12), (20, 24))
    assert merged([]) == ()
