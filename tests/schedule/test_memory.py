"""The arena: buffers that live at one time never share bytes, and the plan is not larger than it needs to be."""

from __future__ import annotations

import random

import pytest

from graphrt.dtypes import float32
from graphrt.ir import Node, TensorType, input_node
from graphrt.schedule.memory import ALIGNMENT, PADDING, MemoryPlan, lifetimes_of, plan_memory, plan_schedule

from .networks import dense_step, lenet_step, momentum, scheduled


def nodes(count: int) -> list[Node]:
    return [input_node(f"n{k}", TensorType((1,), float32)) for k in range(count)]


def check(plan: MemoryPlan, sizes: dict[Node, int], lifetimes: dict[Node, tuple[int, int]]) -> None:
    """The interval oracle: every pair of buffers is apart in time or in memory."""
    assert {p.node for p in plan.placements} == set(sizes)
    for p in plan.placements:
        assert p.offset % ALIGNMENT == 0 and p.offset >= 0
        assert p.bytes == sizes[p.node] and (p.first, p.last) == lifetimes[p.node]
        assert p.offset + p.bytes + PADDING <= plan.arena_bytes
        assert plan.offset(p.node) == p.offset
    for k, a in enumerate(plan.placements):
        for b in plan.placements[:k]:
            apart_in_time = a.last < b.first or b.last < a.first
            apart_in_memory = (
                a.offset + a.bytes + PADDING <= b.offset or b.offset + b.bytes + PADDING <= a.offset
            )
            assert apart_in_time or apart_in_memory, (a, b)


def rounded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT + PADDING


def most_alive(sizes: dict[Node, int], lifetimes: dict[Node, tuple[int, int]]) -> int:
    """The least an arena can be."""
    ends = [time for lifetime in lifetimes.values() for time in lifetime]
    return max(
        (sum(rounded(sizes[n]) for n, (a, b) in lifetimes.items() if a <= time <= b) for time in set(ends)),
        default=0,
    )


@pytest.mark.parametrize("first", range(0, 500, 50))
def test_random_plans_against_an_interval_oracle(first: int) -> None:
    for seed in range(first, first + 50):
        choose = random.Random(seed)
        count, steps = choose.randint(1, 40), choose.randint(1, 30)
        largest = choose.choice((100, 5000, 1_000_000))
        sizes, lifetimes = {}, {}
        for node in nodes(count):
            start = choose.randrange(steps)
            sizes[node] = choose.choice((0, 1, 63, 64, 65, choose.randint(1, largest)))
            lifetimes[node] = (start, min(steps - 1, start + choose.choice((0, 1, 2, steps))))
        plan = plan_memory(sizes, lifetimes)
        check(plan, sizes, lifetimes)
        needed = most_alive(sizes, lifetimes)
        assert plan.arena_bytes >= needed, seed
        assert plan.arena_bytes <= sum(map(rounded, sizes.values())), seed
        assert plan.unshared_bytes == sum(sizes.values())


def test_plans_stay_close_to_the_least_possible() -> None:
    """Greedy by size is good on chains, the shape of a network: each buffer lives until its reader ran."""
    for seed in range(50):
        choose = random.Random(seed)
        made = nodes(30)
        sizes = {n: choose.randint(1, 100_000) for n in made}
        lifetimes = {n: (k, k + 1) for k, n in enumerate(made)}
        assert plan_memory(sizes, lifetimes).arena_bytes <= 1.5 * most_alive(sizes, lifetimes), seed


def test_buffers_that_never_meet_share_memory() -> None:
    a, b, c = nodes(3)
    plan = plan_memory({a: 1000, b: 1000, c: 1000}, {a: (0, 1), b: (1, 2), c: (2, 3)})
    assert plan.offset(a) == plan.offset(c) != plan.offset(b)
    assert plan.arena_bytes == 2 * rounded(1000)


def test_a_last_read_and_a_first_write_in_one_kernel_do_not_share() -> None:
    """A kernel may still read its operand while it writes its result."""
    a, b = nodes(2)
    plan = plan_memory({a: 64, b: 64}, {a: (0, 3), b: (3, 5)})
    assert abs(plan.offset(a) - plan.offset(b)) >= 64


def test_no_buffers_no_arena() -> None:
    assert plan_memory({}, {}) == MemoryPlan((), 0, 0)


def test_lifetimes_reach_from_the_first_touch_to_the_last() -> None:
    a, b, c = nodes(3)
    assert lifetimes_of([[a], [b], [c], []], [[], [a], [], [a, b]]) == {a: (0, 3), b: (1, 3), c: (2, 2)}


@pytest.mark.parametrize(
    "graph", [dense_step(), dense_step(7, optimizer=momentum), lenet_step(37), lenet_step(4)], ids=lambda g: str(len(g.nodes()))
)  # fmt: skip
def test_plans_of_training_steps(graph) -> None:
    planned = scheduled(graph)
    plan = plan_schedule(planned)
    arena = {n: slot.bytes for n, slot in planned.slots.items() if slot.kind == "arena"}
    touched: dict[Node, list[int]] = {}
    for number, group in enumerate(planned.groups):
        for node in {*group.stores, *group.reads, *group.anchor_reads} & set(arena):
            touched.setdefault(node, []).append(number)
    check(plan, arena, {n: (min(t), max(t)) for n, t in touched.items()})
    assert plan.arena_bytes < sum(map(rounded, arena.values()))
