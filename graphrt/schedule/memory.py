"""Where temporaries live: offsets in one arena from lifetimes, with the peak known before anything runs.

In: the groups in execution order and the slots that live in the arena. Out: a `MemoryPlan`.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..ir import Node
from .plan import Schedule
from .work import UNSHARED_BYTES

ALIGNMENT = 64
SPREAD = 1.1  # how much more memory may be used where that saves barriers
PADDING = 64  # bytes between buffers, so that neighbours never share a cache line


@dataclass(frozen=True)
class Placement:
    """One buffer: byte offset and size, and the first and last group (inclusive) during which it is live."""

    node: Node
    offset: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class MemoryPlan:
    placements: tuple[Placement, ...]
    arena_bytes: int
    unshared_bytes: int  # what the arena would need if no two buffers shared memory

    def offset(self, node: Node) -> int:
        return self._offsets[node]

    @cached_property
    def _offsets(self) -> Mapping[Node, int]:
        return {p.node: p.offset for p in self.placements}

    def __str__(self) -> str:
        lines = [f"memory plan: arena {self.arena_bytes} B, {self.unshared_bytes} B without sharing"]
        for p in sorted(self.placements, key=lambda p: (p.first, p.offset)):
            lines.append(
                f"  [{p.offset:>10} .. {p.offset + p.bytes:>10})  kernels {p.first:>3} - {p.last:>3}  "
                f"{p.node.type}  {p.node.op.name}"
            )
        return "\n".join(lines)


def plan_memory(sizes: Mapping[Node, int], lifetimes: Mapping[Node, tuple[int, int]]) -> MemoryPlan:
    """Greedy: largest buffers first, each at the lowest offset free during its whole life.

    `sizes` in bytes; `lifetimes` as (first, last) group numbers.
    """
    placed: list[Placement] = []
    for node in sorted(sizes, key=lambda n: (-sizes[n], lifetimes[n])):
        first, last = lifetimes[node]
        size = -(-sizes[node] // ALIGNMENT) * ALIGNMENT + PADDING
        overlapping = sorted(
            (p for p in placed if p.first <= last and first <= p.last), key=lambda p: p.offset
        )
        offset = 0
        for other in overlapping:
            if offset + size <= other.offset:
                break
            offset = max(offset, other.offset + -(-other.bytes // ALIGNMENT) * ALIGNMENT + PADDING)
        placed.append(Placement(node, offset, sizes[node], first, last))
    arena = max((p.offset + -(-p.bytes // ALIGNMENT) * ALIGNMENT + PADDING for p in placed), default=0)
    return MemoryPlan(tuple(placed), arena, sum(sizes.values()))


def plan_schedule(
    schedule: Schedule, phases: Sequence[int] = (), private: Collection[Node] = ()
) -> MemoryPlan:
    """The arena of a schedule: every slot of kind "arena", but for those `private` to a thread, from its first to its
    last use.

    `phases`: how many groups run between two barriers each. Then no two buffers of one phase share memory: threads that
    are not equally far would have to wait before they reuse it. If that takes much memory they do share and wait.
    """
    slots = schedule.slots
    written = [[n for n in group.stores] for group in schedule.groups]
    read = [[*group.reads, *group.anchor_reads] for group in schedule.groups]
    lifetimes = lifetimes_of(written, read)
    arena = {
        n: s.bytes for n, s in slots.items() if s.kind == "arena" and n in lifetimes and n not in private
    }
    plan = plan_memory(arena, lifetimes)
    if not phases:
        return plan
    spread = plan_memory(arena, _whole_phases(lifetimes, phases))
    return spread if spread.arena_bytes <= max(UNSHARED_BYTES, SPREAD * plan.arena_bytes) else plan


def _whole_phases(
    lifetimes: Mapping[Node, tuple[int, int]], phases: Sequence[int]
) -> dict[Node, tuple[int, int]]:
    """Lifetimes from the beginning of the phase of the first use to the end of that of the last one."""
    bounds = [
        (end - count, end - 1)
        for count, end in zip(phases, itertools.accumulate(phases))
        for _ in range(count)
    ]
    return {node: (bounds[first][0], bounds[last][1]) for node, (first, last) in lifetimes.items()}


def lifetimes_of(
    written: Sequence[Sequence[Node]], read: Sequence[Sequence[Node]]
) -> dict[Node, tuple[int, int]]:
    """First and last group that touches each node."""
    result: dict[Node, tuple[int, int]] = {}
    for number, nodes in enumerate(zip(written, read)):
        for node in (*nodes[0], *nodes[1]):
            first, _ = result.get(node, (number, number))
            result[node] = (first, number)
    return result
