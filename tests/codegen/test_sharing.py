"""Sweeps of large steps: divided so that few lines change between caches, or run by every thread; the bits stay."""

from __future__ import annotations

import pytest
from differential import difference, run_reference
from test_division import data, training_step
from turns import run_in_turns

from graphrt import compiler
from graphrt.codegen import sharing
from graphrt.codegen.barriers import Accesses
from graphrt.codegen.division import Division, as_built
from graphrt.codegen.parts import Part
from graphrt.codegen.spans import Spans
from graphrt.codegen.target import target
from graphrt.dtypes import float32, int32
from graphrt.ir import Graph, Node, TensorType, input_node
from graphrt.kernels.reuse import KernelTable
from graphrt.loops import ir
from graphrt.ops import build
from graphrt.passes.pipeline import prepare
from graphrt.schedule import work
from graphrt.schedule.plan import schedule

LARGE = (784, 512, 512, 10)  # widths of a classifier whose step is far above `work.LARGE_STEP`


def divided(graph: Graph, threads: int = 2) -> Division:
    planned = schedule(prepare(compiler.optimize(graph)), 16)
    return as_built(planned, KernelTable(planned.slots, 16, threads), threads)


def sweeps(found: Division) -> dict[tuple[str, tuple[int, ...]], Part]:
    """The movable sweeps as they were built, by what they compute and the domain."""
    return {
        (part.group.lead.op.name, part.group.domain): part
        for part in found.parts
        if part.group.anchor is None and part.kernel.body and part.nanoseconds > 500
    }


def parallel_extents(part: Part) -> set[str]:
    return {
        s.var.name for s in ir.statements(part.kernel.body) if isinstance(s, ir.Loop) and s.kind == "parallel"
    }


def test_what_every_thread_reads_is_copied_by_every_thread() -> None:
    """The batch and its other layout are read whole by all threads."""
    found = divided(training_step(LARGE, 64))
    batch = {name: part for (name, domain), part in sweeps(found).items() if domain == (64, 784)}
    assert {name: part.who for name, part in batch.items()} == {"gather": "each", "copy": "each"}
    assert {node.shape for node in found.private} == {(64, 784)}


def test_what_a_thread_wrote_it_copies_where_its_next_reader_is_on_it() -> None:
    """Hidden activations are computed by features, and the weight gradient that reads their copy goes by features."""
    found = divided(training_step(LARGE, 64))
    copies = [p for p in found.parts if p.group.lead.op.name == "copy" and p.group.domain == (64, 512)]
    assert copies and all(part.who == "all" and parallel_extents(part) == {"i1"} for part in copies)


def test_many_threads_share_the_batch() -> None:
    """Among 8 threads an eighth of the work is less than all of it, whatever lines move."""
    found = sweeps(divided(training_step(LARGE, 64), 8))
    assert {part.who for (_, domain), part in found.items() if domain == (64, 784)} == {"all"}


def test_one_thread_has_nothing_to_share() -> None:
    found = divided(training_step(LARGE, 64), 1)
    assert not found.private and {part.who for part in found.parts} == {"each"}


def test_fewer_lines_move_than_before() -> None:
    graph = training_step(LARGE, 64)
    planned = schedule(prepare(compiler.optimize(graph)), 16)
    after = as_built(planned, KernelTable(planned.slots, 16, 2), 2)
    table = KernelTable(planned.slots, 16, 2)
    before = [
        Part(g, k, s, "first" if k.serial else "all", 1.0)
        for g in planned.groups
        for k, s in [table.kernel(g)]
    ]

    def moved(parts: list[Part], private: frozenset[Node]) -> float:
        found = sharing._Sharing(parts, Accesses(2))
        found.private = {planned.slots[node] for node in private}
        total = 0.0
        for part in parts:
            total += found._moved(part) if part.group.anchor is None and part.who != "first" else 0.0
            found.place(part)
        return total

    assert moved(after.parts, after.private) < 0.2 * moved(before, frozenset())


def test_large_sweeps_stay_as_they_are() -> None:
    """Nothing of them is in a cache when it is read."""
    x, w = (input_node(k, TensorType(shape, float32)) for k, shape in (("x", (2048, 256)), ("w", (256, 64))))
    rows = input_node("rows", TensorType((2048,), int32))
    large = build.gather(x, rows, 0)
    found = divided(Graph((x, w, rows), (build.matmul(large, w),), {}, "large"))
    assert work.NEAR_BYTES < 2048 * 256 * 4
    assert not found.private and {part.who for part in found.parts} == {"all"}


@pytest.mark.parametrize("count, descending", [(2, False), (2, True), (1, False)])
def test_the_bits_are_those_of_one_thread(count: int, descending: bool) -> None:
    """In turns, thread by thread in both orders, so that a missing barrier shows; with one thread, too."""
    graph = training_step((300, 160, 160, 10), 64)
    values = data(graph)
    step = compiler.lower(compiler.optimize(graph), threads=2, sink=True)
    assert step.threads == 2
    if target().lanes == 16:
        assert step.scratch_bytes > 0  # some sweep is run by both
    one = compiler.lower(compiler.optimize(graph), threads=1, sink=True)
    alone = run_in_turns(one, values, 1, False)
    assert difference(alone, run_reference(graph, values), exact=False) is None
    found = run_in_turns(step, values, count, descending)
    assert all(found[name].tobytes() == alone[name].tobytes() for name in alone)


@pytest.mark.parametrize(
    "a, b, common",
    [
        (((0, 10),), ((5, 20),), 5),
        (((0, 4), (8, 12)), ((2, 10),), 4),
        (((0, 100),), ((10, 20), (30, 40), (90, 110)), 30),
        (((0, 10), (20, 30)), (), 0),
        (((0, 10), (10, 20)), ((0, 20),), 20),
    ],
)
def test_bytes_in_common(a: Spans, b: Spans, common: int) -> None:
    assert sharing._common(a, b) == sharing._common(b, a) == common
